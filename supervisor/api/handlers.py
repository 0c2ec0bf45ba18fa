"""Operations of the routing table and the handlers that answer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from supervisor.api import container_streams, containers, execs, images, system
from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer

Answerer = Callable[[Exchange], Awaitable[Answer | None]]

HANDLERS: dict[str, Answerer] = {
    "SystemPing": system.system_ping,
    "SystemPingHead": system.system_ping_head,
    "SystemVersion": system.system_version,
    "SystemInfo": system.system_info,
    "SystemEvents": system.system_events,
    "ContainerCreate": containers.container_create,
    "ContainerList": containers.container_list,
    "ContainerInspect": containers.container_inspect,
    "ContainerTop": containers.container_top,
    "ContainerStart": containers.container_start,
    "ContainerStop": containers.container_stop,
    "ContainerRestart": containers.container_restart,
    "ContainerKill": containers.container_kill,
    "ContainerPause": containers.container_pause,
    "ContainerUnpause": containers.container_unpause,
    "ContainerRename": containers.container_rename,
    "ContainerUpdate": containers.container_update,
    "ContainerResize": containers.container_resize,
    "ContainerDelete": containers.container_delete,
    "ContainerWait": container_streams.container_wait,
    "ContainerLogs": container_streams.container_logs,
    "ContainerAttach": container_streams.container_attach,
    "ContainerExec": execs.container_exec,
    "ExecStart": execs.exec_start,
    "ExecResize": execs.exec_resize,
    "ExecInspect": execs.exec_inspect,
    "ImageList": images.image_list,
    "ImageInspect": images.image_inspect,
    "ImageDelete": images.image_delete,
    "ImageCreate": images.image_create,
    "OrlopImageScratch": images.orlop_image_scratch,
    "OrlopDoctor": system.orlop_doctor,
}
