"""What the operations on images, volumes and networks take and answer."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.docker.create import CreateBody
from supervisor.docker.images import FolderBody, ScratchBody
from supervisor.docker.network_body import ConnectBody, DisconnectBody, NetworkBody
from supervisor.docker.operation import (
    FILTERS,
    JSON,
    TAR,
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
from supervisor.docker.volumes import VolumeBody

_IMAGE_MEMBERS = ("Id", "RepoTags", "RootFS", "Config")
_VOLUME_MEMBERS = ("Name", "Driver", "Mountpoint")
_NETWORK_MEMBERS = ("Name", "Id", "Driver", "IPAM")

IMAGES: Mapping[str, Operation] = {
    "ImageList": Operation(
        summary="List images",
        query=flags("all") + FILTERS + flags("shared-size"),
        answer=rows("Id", "RepoTags"),
        read_only=True,
    ),
    "ImageInspect": Operation(
        summary="All about an image", answer=an_object(*_IMAGE_MEMBERS), read_only=True
    ),
    "ImageHistory": Operation(
        summary="How it was made", answer=rows("Id", "CreatedBy"), read_only=True
    ),
    "ImageDelete": Operation(
        summary="Remove a name or an image",
        query=flags("force", "noprune"),
        answer=rows(),
        errors=(409,),
    ),
    "ImagePrune": Operation(
        summary="Remove those without a name, or unused",
        query=FILTERS,
        answer=an_object("ImagesDeleted", "SpaceReclaimed"),
    ),
    "ImageTag": Operation(
        summary="Give it a further name",
        query=needed("string", "repo") + texts("tag"),
        status=201,
        errors=(409,),
    ),
    "ImageCreate": Operation(
        summary="Pull with fromImage, import a tar with fromSrc=-",
        query=(
            *texts("fromImage", "fromSrc", "repo", "tag", "message", "platform"),
            *lists("changes"),
        ),
        body=(TAR,),
        answer=Answer(JSON, "stream"),
        errors=(401, 404, 503),
    ),
    "ImageCommit": Operation(
        summary="Make an image of a container",
        query=(
            *needed("string", "container"),
            *texts("repo", "tag", "comment", "author"),
            *flags("pause"),
            *lists("changes"),
        ),
        body=(CreateBody,),
        status=201,
        answer=an_object("Id"),
        errors=(404, 409, 503),
    ),
    "ImageGet": Operation(summary="Save it as a tar", answer=Answer(TAR)),
    "ImageGetAll": Operation(
        summary="Save several as one tar",
        query=needed("list", "names"),
        answer=Answer(TAR),
        errors=(404,),
    ),
    "ImageLoad": Operation(
        summary="Load a saved tar",
        query=flags("quiet") + texts("platform"),
        body=(TAR,),
        answer=Answer(JSON, "stream"),
    ),
    "ImagePush": Operation(
        summary="Push it to its registry",
        query=texts("tag"),
        answer=Answer(JSON, "stream"),
        errors=(401, 503),
    ),
    "ImageSearch": Operation(
        summary="Search Docker Hub",
        query=needed("string", "term") + numbers("limit") + FILTERS,
        answer=rows("name"),
        errors=(503,),
    ),
    "DistributionInspect": Operation(
        summary="What a registry has under a name",
        answer=an_object("Descriptor", "Platforms"),
        errors=(401, 503),
    ),
    "OrlopImageScratch": Operation(
        summary="Make an image of programs of the host",
        query=needed("string", "name"),
        body=(ScratchBody,),
        status=201,
        answer=an_object(*_IMAGE_MEMBERS),
        errors=(404,),
    ),
    "OrlopImageFrom": Operation(
        summary="Make an image of a folder of the host, or of a tar",
        query=needed("string", "name"),
        body=(FolderBody, TAR),
        status=201,
        answer=an_object(*_IMAGE_MEMBERS),
        errors=(404,),
    ),
}

NETWORKS_AND_VOLUMES: Mapping[str, Operation] = {
    "VolumeList": Operation(
        summary="List volumes",
        query=FILTERS,
        answer=an_object("Volumes", "Warnings"),
        read_only=True,
    ),
    "VolumeCreate": Operation(
        summary="Make a volume",
        body=(VolumeBody,),
        status=201,
        answer=an_object(*_VOLUME_MEMBERS),
        errors=(409,),
    ),
    "VolumeInspect": Operation(
        summary="All about a volume", answer=an_object(*_VOLUME_MEMBERS), read_only=True
    ),
    "VolumeDelete": Operation(
        summary="Remove a volume", query=flags("force"), status=204, errors=(409,)
    ),
    "VolumePrune": Operation(
        summary="Remove unused volumes",
        query=FILTERS,
        answer=an_object("VolumesDeleted", "SpaceReclaimed"),
    ),
    "NetworkList": Operation(
        summary="List networks",
        query=FILTERS,
        answer=rows(*_NETWORK_MEMBERS),
        read_only=True,
    ),
    "NetworkCreate": Operation(
        summary="Make a network",
        body=(NetworkBody,),
        status=201,
        answer=an_object("Id", "Warning"),
        errors=(403, 409, 501, 503),
    ),
    "NetworkInspect": Operation(
        summary="All about a network",
        query=flags("verbose") + texts("scope"),
        answer=an_object(*_NETWORK_MEMBERS, "Containers"),
        read_only=True,
    ),
    "NetworkDelete": Operation(summary="Remove a network", status=204, errors=(403, 409)),
    "NetworkConnect": Operation(
        summary="Put a container into it", body=(ConnectBody,), errors=(403, 409, 501, 503)
    ),
    "NetworkDisconnect": Operation(
        summary="Take a container out of it", body=(DisconnectBody,), errors=(403, 409)
    ),
    "NetworkPrune": Operation(
        summary="Remove unused networks", query=FILTERS, answer=an_object("NetworksDeleted")
    ),
}
