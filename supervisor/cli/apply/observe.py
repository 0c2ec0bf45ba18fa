"""Asks the daemon what there is of a project."""

from __future__ import annotations

from typing import Any

from supervisor.cli.apply import marks, seen, wanted
from supervisor.cli.client import Client, container_path, filters_json, image_path, network_path
from supervisor.cli.failures import DaemonError

Json = dict[str, Any]

_ANONYMOUS = 64
_HEX = frozenset("0123456789abcdef")


def observe(client: Client, project: wanted.Project) -> seen.Host:
    """What matters to the project; DaemonError, Unreachable."""
    label = f"{marks.PROJECT}={project.name}"
    listed = client.get(
        "/containers/json", {"all": True, "filters": filters_json([("label", label)])}
    )
    found = (look(client, str(one["Id"])) for one in listed)
    containers = tuple(one for one in found if one is not None)
    names = {one.name for one in containers}
    named = (name for service in project.services for name in service.containers)
    others = ((name, look(client, name)) for name in named if name not in names)
    images = ((ref, image_id(client, ref)) for ref in _images(project))
    return seen.Host(
        containers=containers,
        # A name finds an id's beginning, too.
        strangers={name: one for name, one in others if one is not None and one.name == name},
        networks=_networks(client, project),
        volumes=_volumes(client),
        images={ref: id for ref, id in images if id is not None},
    )


def look(client: Client, ref: str) -> seen.Container | None:
    """One container; None where there is none."""
    view = _found(client, container_path(ref, "json"))
    return None if view is None else container_of(view)


def container_of(view: Json) -> seen.Container:
    """The container that an inspect answer tells of."""
    state = view["State"]
    past = view.get("OrlopHistory") or ()
    by_itself = not past or past[-1]["Reason"] == "completed"
    return seen.Container(
        id=str(view["Id"]),
        name=str(view["Name"]).removeprefix("/"),
        labels=view["Config"].get("Labels") or {},
        image=str(view["Image"]),
        status=str(state["Status"]),
        exit_code=int(state["ExitCode"]),
        completed=state["ExitCode"] == 0 and by_itself,
        health=str((state.get("Health") or {}).get("Status") or ""),
        restart=str(view["HostConfig"]["RestartPolicy"]["Name"]),
        anonymous={
            str(mount["Destination"]): str(mount["Name"])
            for mount in view.get("Mounts") or ()
            if mount["Type"] == "volume" and _is_anonymous(str(mount.get("Name", "")))
        },
    )


def image_id(client: Client, ref: str) -> str | None:
    """The id of the image that is called so here; None where there is none."""
    view = _found(client, image_path(ref, "json"))
    return None if view is None else str(view["Id"])


def _images(project: wanted.Project) -> list[str]:
    return list(dict.fromkeys(service.image for service in project.services))


def _networks(client: Client, project: wanted.Project) -> dict[str, seen.Network]:
    wanted_names = {network.name for network in project.networks}
    if any(service.in_default_network for service in project.services):
        wanted_names.add(wanted.DEFAULT_NETWORK)
    found: dict[str, seen.Network] = {}
    for view in client.get("/networks"):
        labels = view.get("Labels") or {}
        name = str(view["Name"])
        if name not in wanted_names and labels.get(marks.PROJECT) != project.name:
            continue
        # The list has no members.
        whole = _found(client, network_path(str(view["Id"]))) or {}
        members = frozenset(map(str, whole.get("Containers") or ()))
        found[name] = seen.Network(name=name, labels=labels, members=members)
    return found


def _volumes(client: Client) -> dict[str, seen.Volume]:
    views = client.get("/volumes")["Volumes"] or ()
    return {
        str(view["Name"]): seen.Volume(name=str(view["Name"]), labels=view.get("Labels") or {})
        for view in views
    }


def _found(client: Client, path: str) -> Json | None:
    try:
        view: Json = client.get(path)
    except DaemonError as error:
        if error.code == 404:
            return None
        raise
    return view


def _is_anonymous(name: str) -> bool:
    return len(name) == _ANONYMOUS and set(name) <= _HEX
