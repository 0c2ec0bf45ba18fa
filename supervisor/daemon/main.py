"""The daemon: configuration, assembly, signals. Its life is `serve`."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

import supervisor
from supervisor import failpoints
from supervisor.api.server import Server
from supervisor.daemon.addresses import declare_addresses
from supervisor.daemon.config import DEFAULT_FILE, LEVELS, ON_EXIT, Config, merge, read_file
from supervisor.daemon.flags import add_switch
from supervisor.daemon.listen import Listening, group_id, listen, listen_read_only
from supervisor.daemon.log import set_up, write_kept
from supervisor.daemon.networks import add_network_options, networks_of
from supervisor.daemon.notify import notify, watchdog_seconds
from supervisor.daemon.opening import claimed, open_database
from supervisor.daemon.pulse import Pulse
from supervisor.daemon.userns import add_userns_options, pool_of
from supervisor.engine.closing import stop_all
from supervisor.engine.engine import Engine
from supervisor.engine.host import Host
from supervisor.engine.metering import DEFAULT_ADDRESS, OFF
from supervisor.errors import Conflict, KernelError, OrlopError, Unavailable
from supervisor.failpoints.registry import switch_on
from supervisor.kernel import process
from supervisor.kernel.cgroups import detect
from supervisor.store.files import write_atomic
from supervisor.store.images import ImageStore
from supervisor.store.layout import DataRoot

log = logging.getLogger("orlop.daemon")

OOM_SCORE_ADJ = -999
EXIT_FAILURE = 1
UMASK = 0o022  # whatever it was started with: modes are meant as they are given


def parser() -> argparse.ArgumentParser:
    """The options of `orlop daemon`."""
    p = argparse.ArgumentParser(
        prog="orlop daemon",
        description="Run the Orlop supervisor in the foreground. It needs root.",
    )
    default = Config()
    p.add_argument("--config", metavar="FILE", help=f"TOML file (default: {DEFAULT_FILE} if there)")
    p.add_argument(
        "--data-root", metavar="DIR", help=f"images and containers (default: {default.data_root})"
    )
    p.add_argument(
        "--run-root", metavar="DIR", help=f"the daemon's pid file (default: {default.run_root})"
    )
    declare_addresses(p, default.host[0], default.group)
    p.add_argument(
        "--cgroup-parent",
        metavar="NAME",
        help=f"folder of the containers' cgroups (default: {default.cgroup_parent})",
    )
    _add_registry_options(p)
    _add_metrics_options(p)
    add_switch(
        p,
        "--ksm",
        "whether the kernel may merge what is the same in the memory of shims (default: it "
        "may; it does where the host's /sys/kernel/mm/ksm/run is 1)",
    )
    add_network_options(p, default)
    p.add_argument(
        "--on-exit",
        choices=ON_EXIT,
        help="what becomes of running containers at SIGTERM or SIGINT: they go on, or are "
        f"stopped first (default: {default.on_exit})",
    )
    add_userns_options(p)
    p.add_argument("--log-level", choices=LEVELS, help=f"default: {default.log_level}")
    return p


def _add_registry_options(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--insecure-registry",
        metavar="HOST[:PORT]",
        action="append",
        help="a registry, or a network of them, that may do without TLS; may be given often",
    )
    p.add_argument(
        "--registry-mirror",
        metavar="URL",
        action="append",
        help="ask this for images of docker.io first; may be given often",
    )


def _add_metrics_options(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--metrics-addr",
        metavar="HOST:PORT|off",
        help=f"where Prometheus is answered (default: {DEFAULT_ADDRESS})",
    )
    p.add_argument(
        "--metrics-web-config",
        metavar="FILE",
        help="TLS and users of that address, in the format of Prometheus' exporter-toolkit",
    )
    p.add_argument(
        "--metrics-label",
        metavar="NAME",
        action="append",
        help="a container label (com.docker.compose.service) that metrics have; may be given often",
    )
    p.add_argument(
        "--metrics-interval",
        metavar="SECONDS",
        type=float,
        help="between two looks at what containers use, while somebody watches (default: 1)",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit status."""
    options = vars(parser().parse_args(arguments))
    file = options.pop("config")
    try:
        config = Config()
        if file or Path(DEFAULT_FILE).exists():
            config = merge(config, read_file(Path(file or DEFAULT_FILE)))
        insecure, mirrors = options.pop("insecure_registry"), options.pop("registry_mirror")
        config = merge(config, options)
        registries = config.registries.with_flags(insecure or (), mirrors or ())
        config = replace(config, registries=registries)
        set_up(config.log_level)
        os.umask(UMASK)
        switch_on(os.environ.get(failpoints.VARIABLE, ""))
        _check_host()
        pulse = Pulse()
        try:
            trio.run(serve, config, pulse)
        finally:
            pulse.over()
    except (OrlopError, KernelError) as error:
        sys.stderr.write(f"orlop daemon: {error}\n")
        return EXIT_FAILURE
    except OSError as error:
        sys.stderr.write(f"orlop daemon: {error.filename or ''}: {error.strerror}\n")
        return EXIT_FAILURE
    return 0


def _check_host() -> None:
    if getattr(supervisor, "DISTRIBUTION", "") != "orlop":
        raise Conflict(
            f"the package `supervisor` at {supervisor.__file__} is not Orlop's (PyPI's "
            "supervisord installs one of that name, too): use a virtual environment of its own"
        )
    if os.geteuid() != 0:
        raise Unavailable("it needs root: namespaces, cgroups and mounts are the kernel's to give")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        process.set_oom_score_adj(OOM_SCORE_ADJ)
    except OSError:
        log.warning(
            "oom_score_adj stays as it is: lowering it needs CAP_SYS_RESOURCE; under memory "
            "pressure the kernel may choose the supervisor or a shim"
        )


async def serve(config: Config, pulse: Pulse) -> None:
    """Assemble, recover, listen, and serve until told to stop. Containers live on."""
    root = DataRoot(config.data_root)
    root.prepare()
    database = await open_database(root)  # what cannot be opened leaves no trace of this daemon
    pid_file = Path(config.run_root) / "daemon.pid"
    try:
        pid_file.parent.mkdir(mode=0o710, parents=True, exist_ok=True)
        pid_file.write_text(f"{os.getpid()}\n")
        listening = listen(
            config.addresses,
            config.server_tls,
            gid=group_id(config.group),
            run_root=Path(config.run_root),
            without_tls=config.tcp_without_tls,
        )
        listen_read_only(
            listening,
            config.read_only_addresses,
            gid=group_id(config.read_only_group or config.group, "--read-only-group"),
            run_root=Path(config.run_root),
        )
    except BaseException:
        with trio.CancelScope(shield=True):
            await database.close()
        raise
    host = Host(root, database, detect(), config.cgroup_parent)
    host.log_max_size, host.log_max_files = config.log_max_size, config.log_max_files
    try:
        if config.metrics_addr != OFF:
            await host.metering.switch_on(
                config.metrics_addr,
                config.metrics_web_config,
                config.metrics_label,
                config.metrics_interval,
            )
        host.hierarchy.prepare()
        for warning in host.hierarchy.warnings:
            log.warning("%s", warning)
        host.zygote.mergeable = config.ksm
        host.zygote.start()
        images = ImageStore(root, database)
        await images.load()
        engine = Engine(host, images, _engine_id(root))
        engine.registries.config = config.registries
        engine.userns.open(config.userns, pool_of(config), str(root.path.resolve()))
        with claimed(host.hierarchy):
            async with networks_of(engine, config):
                await _run(engine, listening, config.on_exit, pulse)
    finally:
        with trio.CancelScope(shield=True):
            host.close()
            await database.close()
            listening.close()
            pid_file.unlink(missing_ok=True)
            if not host.hierarchy.names():
                host.hierarchy.remove()
            root.release()


async def _run(engine: Engine, listening: Listening, on_exit: str, pulse: Pulse) -> None:
    server = Server(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.beat)
        nursery.start_soon(write_kept)
        await nursery.start(engine.metering.run)
        await nursery.start(engine.run)
        await engine.host.database.settle()
        await engine.images.sweep(engine.uses)
        nursery.start_soon(_feed_watchdog)  # not in `serving`, which ends with the server
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as serving:
                await serving.start(
                    partial(server.serve, read_only=listening.read_only), listening.listeners
                )
                serving.start_soon(_stop_on, signals, server, engine, on_exit)
                gc.freeze()  # what was made until here stays: the collector need not look at it
                notify("READY=1")
                log.info("ready, %d containers", len(engine.containers))
        nursery.cancel_scope.cancel()


async def _stop_on(signals: object, server: Server, engine: Engine, on_exit: str) -> None:
    async for number in signals:  # type: ignore[attr-defined]
        notify("STOPPING=1")
        what = "containers live on" if on_exit == "keep" else "all containers are stopped first"
        log.info("stopping on %s; %s", signal.Signals(number).name, what)
        if on_exit == "stop" and (left := await stop_all(engine)):
            log.error("these containers run on: %s", ", ".join(left))
        server.stop()
        return


async def _feed_watchdog() -> None:
    seconds = watchdog_seconds()
    while seconds:
        notify("WATCHDOG=1")
        await trio.sleep(seconds)


def _engine_id(root: DataRoot) -> str:
    """An id of this data root, made once."""
    path = root.path / "engine-id"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        new = os.urandom(16).hex()
        write_atomic(path, new.encode())
        return new
