"""Images beside skopeo and umoci: load and pull of a Debian root filesystem; layers and starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.client import Client, RequestFailed
from tests.bench.figures import Figure, median
from tests.bench.rig import Rig, Sizes
from tests.support import image_tars, places
from tests.support.registry import running_registry

MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
CACHE = Path(__file__).parents[2] / ".cache"
LAYERS = 100
CONTAINERS = 10
MOST_FOR_LAYERS = 1.3


def images(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Pairs of the same work: unpacking an archive, and pulling from a registry."""
    rounds = max(2, sizes.pairs // 30)
    with places.short_folder() as folder:
        archive = folder / "debian.tar"
        archive.write_bytes(
            image_tars.oci_archive([(image_tars.Made([debian_tree()]), ["bench/debian:1"])])
        )
        loads = _loads(rig, archive, folder, rounds)
        (folder / "registry").mkdir()
        with running_registry(folder / "registry") as registry:
            registry.skopeo("copy", f"oci-archive:{archive}", f"docker://{registry.address}/d:1")
            pulls = _pulls(rig, registry.address, folder, rounds)
    return [*loads, *pulls]


def _loads(rig: Rig, archive: Path, folder: Path, rounds: int) -> list[Figure]:
    return _pairs(
        "load of a Debian archive",
        "skopeo copy + umoci unpack",
        lambda: load(rig, archive),
        lambda: _forget(rig, "bench/debian:1"),
        lambda: _their_unpack(folder, f"oci-archive:{archive}"),
        rounds,
    )


def _pulls(rig: Rig, registry: str, folder: Path, rounds: int) -> list[Figure]:
    return _pairs(
        "pull of it from a registry",
        "skopeo copy to a folder + umoci unpack",
        lambda: _pull(rig, f"{registry}/d:1"),
        lambda: _forget(rig, f"{registry}/d:1"),
        lambda: _their_unpack(folder, f"docker://{registry}/d:1"),
        rounds,
    )


def _pairs(
    ours: str,
    theirs: str,
    do: Callable[[], None],
    undo: Callable[[], None],
    do_theirs: Callable[[], None],
    rounds: int,
) -> list[Figure]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for index, work in enumerate((do, do_theirs)):
            os.sync()  # what the other one wrote is not this one's to wait for
            begun = time.perf_counter()
            work()
            times[index].append(time.perf_counter() - begun)
        undo()
    ratio = median(b / a for a, b in zip(*times, strict=True))
    part = "images"
    return [
        Figure(part=part, name=f"{ours}, p50", value=median(times[0]), unit="s"),
        Figure(part=part, name=f"{theirs}, p50", value=median(times[1]), unit="s"),
        Figure(part=part, name=f"{ours}: speed against theirs", value=ratio, unit="×", least=1),
    ]


def load(rig: Rig, archive: Path) -> None:
    """POST /images/load, streamed from the file."""
    with rig.client() as client:
        size = archive.stat().st_size
        head = (
            "POST /images/load?quiet=1 HTTP/1.1\r\nHost: bench\r\n"
            f"Content-Type: application/x-tar\r\nContent-Length: {size}\r\n\r\n"
        )
        client.socket.sendall(head.encode())
        with archive.open("rb") as file:
            client.socket.sendfile(file)
        _finish(client)


def _pull(rig: Rig, reference: str) -> None:
    name, _, tag = reference.rpartition(":")
    with rig.client() as client:
        client.send("POST", f"/images/create?fromImage={name}&tag={tag}")
        _finish(client)


def _finish(client: Client) -> None:
    """Read a progress stream to its end; RequestFailed for an error in it."""
    status, _ = client.head()
    pieces = []
    while piece := client.chunk():
        pieces.append(piece)
    text = b"".join(pieces)
    if status >= 400 or b"errorDetail" in text:
        raise RequestFailed(f"{status} {text[-500:]!r}")


def _forget(rig: Rig, reference: str) -> None:
    with rig.client() as client:
        client.call("DELETE", f"/images/{reference}?force=1")


def _their_unpack(folder: Path, source: str) -> None:
    layout, bundle = folder / "theirs", folder / "theirs-bundle"
    try:
        _run(
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"),
            *(source, f"oci:{layout}:d"),
            temporary=folder,
        )
        _run("umoci", "unpack", "--image", f"{layout}:d", str(bundle), temporary=folder)
        os.sync()  # as ours is on disk when it returns
    finally:
        shutil.rmtree(layout, ignore_errors=True)
        shutil.rmtree(bundle, ignore_errors=True)


def _run(*command: str, temporary: Path) -> None:
    tools = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": tools, "TMPDIR": str(temporary)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def debian_tree() -> bytes:
    """The tar of a debootstrap'ed minbase; made once, kept in .cache."""
    kept = CACHE / f"debian-{SUITE}-minbase.tar"
    if not kept.exists():
        CACHE.mkdir(exist_ok=True)
        with places.short_folder() as folder:
            tree, new = folder / "tree", folder / "new.tar"
            command = ["debootstrap", "--variant=minbase", SUITE, str(tree), MIRROR]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            shutil.rmtree(tree / "var/cache/apt", ignore_errors=True)
            subprocess.run(["tar", "-C", str(tree), "--numeric-owner", "-cf", str(new), "."])
            shutil.copyfile(new, kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)
    return kept.read_bytes()


# --- layers and containers ----------------------------------------------------------------


def layers(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Does a start depend on the number of layers? Do containers of one image share them?"""
    with _loaded(rig, 1) as one, _loaded(rig, LAYERS) as many:
        times: dict[str, list[float]] = {one: [], many: []}
        with rig.client() as client:
            for _ in range(sizes.pairs):
                for image, found in times.items():
                    found.append(_start(client, image))
        shared = _disk_of_containers(rig, many)
    ratio = median(b / a for a, b in zip(times[one], times[many], strict=True))
    return [
        Figure(part="layers", name="start, 1 layer, p50", value=_ms(times[one]), unit="ms"),
        Figure(
            part="layers", name=f"start, {LAYERS} layers, p50", value=_ms(times[many]), unit="ms"
        ),
        Figure(
            part="layers",
            name=f"start with {LAYERS} layers / with 1, p50 of the pairs",
            value=ratio,
            unit="×",
            most=MOST_FOR_LAYERS,
        ),
        Figure(
            part="layers",
            name=f"disk that {CONTAINERS} containers of one image add, each",
            value=shared / CONTAINERS / 1024,
            unit="KiB",
            most=64,
        ),
    ]


def _ms(seconds: list[float]) -> float:
    return 1000 * median(seconds)


@contextmanager
def _loaded(rig: Rig, count: int) -> Iterator[str]:
    name = f"bench/layers:{count}"
    with places.short_folder() as folder:
        archive = folder / "layers.tar"
        archive.write_bytes(image_tars.oci_archive([(image_tars.many_layers(count), [name])]))
        load(rig, archive)
    try:
        yield name
    finally:
        _forget(rig, name)


def _start(client: Client, image: str) -> float:
    container = _create(client, image)
    begun = time.perf_counter()
    client.call("POST", f"/containers/{container}/start")
    seconds = time.perf_counter() - begun
    client.call("POST", f"/containers/{container}/wait")
    client.call("DELETE", f"/containers/{container}")
    return seconds


def _create(client: Client, image: str) -> str:
    body = {"Image": image, "Cmd": ["/bin/true"], "HostConfig": {"NetworkMode": "none"}}
    container: str = client.call("POST", "/containers/create", body)["Id"]
    return container


def _disk_of_containers(rig: Rig, image: str) -> int:
    """The bytes on disk that CONTAINERS containers add which write nothing."""
    before = _used(rig.daemon.data_root)
    with rig.client() as client:
        containers = [_create(client, image) for _ in range(CONTAINERS)]
        for container in containers:
            client.call("POST", f"/containers/{container}/start")
            client.call("POST", f"/containers/{container}/wait")
        added = _used(rig.daemon.data_root) - before
        for container in containers:
            client.call("DELETE", f"/containers/{container}")
    return added


def _used(folder: Path) -> int:
    done = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])
