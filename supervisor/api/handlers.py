"""Operations of the routing table and the handlers that answer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from supervisor.api import (
    archives,
    container_streams,
    containers,
    execs,
    explain,
    image_archives,
    images,
    metering,
    networks,
    prune,
    registries,
    system,
    volumes,
)
from supervisor.api.exchange import Exchange
from supervisor.api.messages import Answer

Answerer = Callable[[Exchange], Awaitable[Answer | None]]
PromptAnswerer = Callable[[Exchange], Answer | None]

STREAMED: frozenset[str] = frozenset(
    {"ImageCreate", "ImageLoad", "OrlopImageFrom", "PutContainerArchive"}
)
"""Operations that take their body as it comes, by `Exchange.body_stream`."""

PROMPT: dict[str, PromptAnswerer] = {
    "SystemPing": system.system_ping,
    "SystemPingHead": system.system_ping_head,
    "ContainerStats": metering.container_stats_once,
}
"""What is answered without a wait, so that it takes no task; where it is None, HANDLERS answer."""

HANDLERS: dict[str, Answerer] = {
    "SystemVersion": system.system_version,
    "SystemInfo": system.system_info,
    "SystemEvents": system.system_events,
    "ContainerCreate": containers.container_create,
    "ContainerList": containers.container_list,
    "ContainerInspect": containers.container_inspect,
    "ContainerTop": containers.container_top,
    "ContainerStats": metering.container_stats,
    "ContainerStart": containers.container_start,
    "ContainerStop": containers.container_stop,
    "ContainerRestart": containers.container_restart,
    "ContainerKill": containers.container_kill,
    "ContainerPause": containers.container_pause,
    "ContainerUnpause": containers.container_unpause,
    "ContainerRename": containers.container_rename,
    "ContainerUpdate": containers.container_update,
    "ContainerImpair": containers.container_impair,
    "ContainerResize": containers.container_resize,
    "ContainerDelete": containers.container_delete,
    "ContainerPrune": prune.container_prune,
    "BuildPrune": prune.build_prune,
    "ContainerWait": container_streams.container_wait,
    "ContainerLogs": container_streams.container_logs,
    "ContainerAttach": container_streams.container_attach,
    "ContainerAttachWebsocket": container_streams.container_attach_websocket,
    "ContainerArchiveInfo": archives.container_archive_info,
    "ContainerArchive": archives.container_archive,
    "PutContainerArchive": archives.put_container_archive,
    "ContainerExport": archives.container_export,
    "ContainerChanges": archives.container_changes,
    "ContainerExec": execs.container_exec,
    "ExecStart": execs.exec_start,
    "ExecResize": execs.exec_resize,
    "ExecInspect": execs.exec_inspect,
    "ImageList": images.image_list,
    "ImageInspect": images.image_inspect,
    "ImageDelete": images.image_delete,
    "ImageCreate": images.image_create,
    "ImageHistory": images.image_history,
    "ImageTag": images.image_tag,
    "ImagePrune": images.image_prune,
    "ImageCommit": images.image_commit,
    "ImageGet": image_archives.image_get,
    "ImageGetAll": image_archives.image_get_all,
    "ImageLoad": image_archives.image_load,
    "SystemDataUsage": images.system_disk_usage,
    "ImagePush": registries.image_push,
    "ImageSearch": registries.image_search,
    "DistributionInspect": registries.distribution_inspect,
    "SystemAuth": registries.system_auth,
    "OrlopImageScratch": images.orlop_image_scratch,
    "OrlopImageFrom": image_archives.orlop_image_from,
    "VolumeList": volumes.volume_list,
    "VolumeCreate": volumes.volume_create,
    "VolumeInspect": volumes.volume_inspect,
    "VolumeDelete": volumes.volume_delete,
    "VolumePrune": volumes.volume_prune,
    "NetworkList": networks.network_list,
    "NetworkCreate": networks.network_create,
    "NetworkInspect": networks.network_inspect,
    "NetworkDelete": networks.network_delete,
    "NetworkConnect": networks.network_connect,
    "NetworkDisconnect": networks.network_disconnect,
    "NetworkPrune": networks.network_prune,
    "OpenApiDocument": system.open_api_document,
    "Metrics": metering.metrics,
    "OrlopDoctor": system.orlop_doctor,
    "OrlopLayers": explain.orlop_layers,
    "OrlopWhence": explain.orlop_whence,
    "OrlopExplain": explain.orlop_explain,
    "OrlopUsage": metering.orlop_usage,
}
