"""JSON lines of GET /events, and its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.docker.views import Event
from supervisor.errors import InvalidArgument

_FILTERS = frozenset(
    {
        "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
        "scope", "secret", "service", "type", "volume",
    }
)  # fmt: skip
_ACTOR_TYPES = ("container", "daemon", "image", "network", "plugin", "volume")
_NOT_LABELS = frozenset({"image", "name", "execID", "exitCode", "execDuration", "signal"})


def event_json(event: Event) -> dict[str, Any]:
    """The event; status, id and from are the spelling of API versions before 1.22."""
    old: dict[str, Any] = {}
    if event.type in ("container", "image"):
        old = {"status": event.action, "id": event.id}
        if event.type == "container":
            old["from"] = event.attributes.get("image", "")
    return {
        **old,
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time_ns // 1_000_000_000,
        "timeNano": event.time_ns,
    }


def check_event_filters(filters: Mapping[str, Sequence[str]]) -> None:
    """InvalidArgument for a filter that the API does not know."""
    for name in filters:
        if name not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{name:.80}'")


def event_matches(event: Event, filters: Mapping[str, Sequence[str]]) -> bool:
    """True if every filter has a value that fits; checked filters only.

    `event` matches the action or what stands before its colon ("exec_create: sh");
    container, image, … match id, id prefix or name; label is NAME or NAME=VALUE.
    """
    for name, wanted in filters.items():
        if not wanted:
            continue
        if name == "event":
            fits = {event.action, event.action.partition(":")[0]} & set(wanted)
        elif name == "type":
            fits = {event.type} & set(wanted)
        elif name == "label":
            fits = set(wanted) if all(_has_label(event, label) for label in wanted) else set()
        elif name == "scope":
            fits = {"local"} & set(wanted)
        elif name in _ACTOR_TYPES:
            fits = {w for w in wanted if _is_actor(event, name, w)}
        else:
            fits = set()
        if not fits:
            return False
    return True


def _is_actor(event: Event, kind: str, wanted: str) -> bool:
    if kind == "image" and event.type == "container":
        image = event.attributes.get("image", "")
        return wanted in (image, _without_tag(image))
    if event.type != kind:
        return False
    name = event.attributes.get("name", "")
    return bool(wanted) and (
        event.id.startswith(wanted)
        or wanted.removeprefix("/") == name
        or wanted == _without_tag(name if kind == "image" else event.id)
    )


def _without_tag(image: str) -> str:
    head, colon, tag = image.rpartition(":")
    return head if colon and "/" not in tag else image


def _has_label(event: Event, wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    if name in _NOT_LABELS or name not in event.attributes:
        return False
    return not equals or event.attributes[name] == value
