"""What each operation of the routing table takes and answers, for the API's own description.

`openapi` makes the document of it; a test compares it with what the handlers say they read.
"""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.docker.create import CreateBody
from supervisor.docker.exec import ExecBody, ExecStartBody
from supervisor.docker.impair import ImpairBody
from supervisor.docker.object_operations import IMAGES, NETWORKS_AND_VOLUMES
from supervisor.docker.operation import (
    BYTES,
    FILTERS,
    FRAMES,
    JSON,
    STREAM,
    TAR,
    TEXT,
    Answer,
    Operation,
    an_object,
    flags,
    lists,
    needed,
    numbers,
    rows,
    texts,
)
from supervisor.docker.update import UpdateBody
from supervisor.oci.registry_auth import AuthBody

_STOP = numbers("t") + texts("signal")
_WINDOW = needed("integer", "h", "w")
_STREAMS = flags("stream", "stdin", "stdout", "stderr", "logs") + texts("detachKeys")
_PATH = needed("string", "path")
_REF = needed("string", "ref")

SYSTEM: Mapping[str, Operation] = {
    "SystemPing": Operation(
        summary="Whether the daemon answers", answer=Answer(TEXT), read_only=True
    ),
    "SystemPingHead": Operation(summary="Whether the daemon answers", read_only=True),
    "SystemVersion": Operation(
        summary="Versions of the daemon and the host",
        answer=an_object("ApiVersion", "Version"),
        read_only=True,
    ),
    "SystemInfo": Operation(
        summary="The daemon, its host and numbers of objects",
        answer=an_object("ID", "Containers"),
        read_only=True,
    ),
    "SystemEvents": Operation(
        summary="What happens, as it does: a JSON object a line",
        query=texts("since", "until") + FILTERS,
        answer=Answer(JSON, "stream"),
        endless=True,
        read_only=True,
    ),
    "SystemDataUsage": Operation(
        summary="What takes how much room",
        query=lists("type"),
        answer=an_object(),
        read_only=True,
    ),
    "SystemAuth": Operation(
        summary="Log in to a registry",
        body=(AuthBody,),
        answer=an_object("Status", "IdentityToken"),
        errors=(401, 503),
    ),
    "BuildPrune": Operation(
        summary="Empty the build cache, which there is not", answer=an_object("SpaceReclaimed")
    ),
    "OpenApiDocument": Operation(
        summary="This document", answer=an_object("openapi", "paths"), read_only=True
    ),
    "Metrics": Operation(
        summary="Prometheus' exposition", answer=Answer(TEXT), errors=(404, 503), read_only=True
    ),
    "OrlopDoctor": Operation(
        summary="What of the host Orlop uses and found", answer=rows("name", "status")
    ),
    "OrlopLayers": Operation(
        summary="An image's or container's layers",
        query=_REF,
        answer=an_object(),
        errors=(404,),
        read_only=True,
    ),
    "OrlopWhence": Operation(
        summary="Which layer a path comes from",
        query=_REF + _PATH + flags("nofollow"),
        answer=an_object(),
        errors=(404, 409, 503),
    ),
    "OrlopExplain": Operation(
        summary="What a container's settings mean on this host",
        query=_REF,
        answer=an_object(),
        errors=(404,),
        read_only=True,
    ),
    "OrlopUsage": Operation(
        summary="What all containers use, and used in the last minute",
        query=flags("history"),
        answer=an_object("at", "containers"),
        errors=(503,),
        read_only=True,
    ),
}

CONTAINERS: Mapping[str, Operation] = {
    "ContainerCreate": Operation(
        summary="Make a container",
        query=texts("name", "platform"),
        body=(CreateBody,),
        status=201,
        answer=an_object("Id", "Warnings"),
        errors=(404, 409, 501, 503),
    ),
    "ContainerList": Operation(
        summary="List containers",
        query=flags("all") + numbers("limit") + flags("size") + FILTERS,
        answer=rows("Id", "Names", "Image", "State", "Status"),
        errors=(404,),
        read_only=True,
    ),
    "ContainerInspect": Operation(
        summary="All about a container",
        query=flags("size"),
        answer=an_object("Id", "Name", "State", "Config", "HostConfig", "NetworkSettings"),
        read_only=True,
    ),
    "ContainerTop": Operation(
        summary="Its processes",
        query=texts("ps_args"),
        answer=an_object("Titles", "Processes"),
        errors=(409,),
        read_only=True,
    ),
    "ContainerStats": Operation(
        summary="What it uses, once or as a stream of objects",
        query=flags("stream", "one-shot"),
        answer=Answer(JSON, "stream"),
        errors=(503,),
        endless=True,
        read_only=True,
    ),
    "ContainerLogs": Operation(
        summary="What it has written",
        query=(
            *flags("follow", "stdout", "stderr"),
            *texts("since", "until"),
            *flags("timestamps"),
            *texts("tail"),
        ),
        answer=Answer(FRAMES),
        endless=True,
        read_only=True,
    ),
    "ContainerStart": Operation(
        summary="Start it",
        query=texts("checkpoint"),
        status=204,
        errors=(304, 409, 501, 503),
    ),
    "ContainerStop": Operation(summary="Stop it", query=_STOP, status=204, errors=(304, 409)),
    "ContainerRestart": Operation(
        summary="Stop it and start it", query=_STOP, status=204, errors=(409, 503)
    ),
    "ContainerKill": Operation(
        summary="Send it a signal", query=texts("signal"), status=204, errors=(409,)
    ),
    "ContainerPause": Operation(summary="Freeze it", status=204, errors=(409,)),
    "ContainerUnpause": Operation(summary="Let it go on", status=204, errors=(409,)),
    "ContainerRename": Operation(
        summary="Give it another name",
        query=needed("string", "name"),
        status=204,
        errors=(409,),
    ),
    "ContainerUpdate": Operation(
        summary="Change its limits and restart policy",
        body=(UpdateBody,),
        answer=an_object("Warnings"),
        errors=(409,),
    ),
    "ContainerImpair": Operation(
        summary="Delay and lose what its network brings",
        body=(ImpairBody,),
        status=204,
        errors=(409, 501, 503),
    ),
    "ContainerResize": Operation(summary="Its terminal's size", query=_WINDOW, errors=(409,)),
    "ContainerDelete": Operation(
        summary="Remove it", query=flags("force", "v", "link"), status=204, errors=(409,)
    ),
    "ContainerPrune": Operation(
        summary="Remove those that do not run",
        query=FILTERS,
        answer=an_object("ContainersDeleted", "SpaceReclaimed"),
    ),
    "ContainerWait": Operation(
        summary="Wait for its end",
        query=texts("condition"),
        answer=an_object("StatusCode"),
        endless=True,
    ),
    "ContainerAttach": Operation(
        summary="Its input and output on this connection",
        query=_STREAMS,
        answer=Answer(STREAM),
        errors=(409,),
        endless=True,
        upgrades=True,
    ),
    "ContainerAttachWebsocket": Operation(
        summary="Its input and output on a websocket",
        query=_STREAMS,
        status=101,
        errors=(409,),
        endless=True,
    ),
    "ContainerArchiveInfo": Operation(
        summary="A path in it: X-Docker-Container-Path-Stat",
        query=_PATH,
        errors=(409, 503),
    ),
    "ContainerArchive": Operation(
        summary="A path in it as a tar", query=_PATH, answer=Answer(TAR), errors=(409, 503)
    ),
    "PutContainerArchive": Operation(
        summary="Unpack a tar into it",
        query=_PATH + flags("noOverwriteDirNonDir", "copyUIDGID"),
        body=(TAR,),
        errors=(403, 409, 503),
    ),
    "ContainerExport": Operation(
        summary="All its files as a tar", answer=Answer(BYTES), errors=(409, 503)
    ),
    "ContainerChanges": Operation(
        summary="What differs from its image", answer=rows("Path", "Kind"), errors=(409, 503)
    ),
    "ContainerExec": Operation(
        summary="Prepare a command in it",
        body=(ExecBody,),
        status=201,
        answer=an_object("Id"),
        errors=(409,),
    ),
    "ExecStart": Operation(
        summary="Run a prepared command, on this connection or in the background",
        body=(ExecStartBody,),
        answer=Answer(STREAM),
        errors=(409,),
        endless=True,
        upgrades=True,
    ),
    "ExecResize": Operation(summary="Its terminal's size", query=_WINDOW, errors=(409,)),
    "ExecInspect": Operation(
        summary="All about it", answer=an_object("ID", "Running"), read_only=True
    ),
}

OPERATIONS: Mapping[str, Operation] = {**SYSTEM, **CONTAINERS, **IMAGES, **NETWORKS_AND_VOLUMES}
