"""A container as the API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.docker.views import ContainerView
from supervisor.engine import network_views
from supervisor.engine.logs import FILE_NAME
from supervisor.engine.userns import range_of
from supervisor.lifecycle.health import at_rest
from supervisor.lifecycle.state import Phase, docker_status

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine


def container_view(engine: Engine, container: Container) -> ContainerView:
    """The view of `container` as it is now.

    The same one as the last time where nothing that it shows has changed: lists ask often. What
    is compared are mostly the same objects, which is quick.
    """
    record = container.record
    networks = (engine.networks.find(one.network) for one in record.endpoints)
    shown = (
        *(record.state, record.name, record.body, record.mounts, record.network, record.endpoints),
        container.stages,
        *(record.health, record.history, engine.execs.of(record.id), engine.host.hostname(record)),
        *(network.name if network else "" for network in networks),
    )
    if container.view is None or container.view[0] != shown:
        container.view = (shown, _make(engine, container))
    return container.view[1]


def _make(engine: Engine, container: Container) -> ContainerView:
    record, state = container.record, container.state
    bundle = f"{engine.host.root.containers}/{record.id}"  # lists ask often: no path is made
    end = state.exit
    writable = record.rootfs_writable
    health, ids = record.health, range_of(record.options)
    return ContainerView(
        id=record.id,
        name=record.name,
        created_ns=record.created_ns,
        image_id=record.image_id,
        status=docker_status(state),
        pid=state.pid if state.phase is not Phase.DEAD else 0,
        exit_code=end.code if end else 0,
        error=end.error if end else "",
        oom_killed=end.oom_killed if end else False,
        started_ns=state.started_ns,
        finished_ns=state.finished_ns if state.started_ns else 0,  # as docker: it never ran
        restart_count=state.restart_count,
        body=record.body,
        hostname=engine.host.hostname(record),
        log_path=f"{bundle}/{FILE_NAME}",
        lower_dirs=record.lowers,
        upper_dir="" if writable else f"{bundle}/upper",
        work_dir="" if writable else f"{bundle}/work",
        exec_ids=engine.execs.of(record.id),
        user_ids=(ids.first, ids.size) if ids is not None else None,
        mounts=record.mounts,
        network_mode=network_views.network_mode(record),
        endpoints=network_views.endpoint_views(engine.networks, record),
        ports=record.network.ports if record.network else (),
        sandbox_id=network_views.sandbox_id(record),
        etc_folder=bundle if state.run else "",
        history=record.history,
        stages=container.stages,
        health=at_rest(health) if health is not None and not state.pid else health,
    )
