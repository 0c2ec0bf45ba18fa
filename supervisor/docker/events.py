"""JSON lines of GET /events, and its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.docker.filters import check_known, has_label
from supervisor.docker.query import Query, moment
from supervisor.docker.views import Event
from supervisor.errors import InvalidArgument
from supervisor.spec.units import parse_duration

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
    check_known(filters, _FILTERS)


def event_matches(event: Event, filters: Mapping[str, Sequence[str]]) -> bool:
    """True if every filter has a value that fits; checked filters only.

    `event` matches the action or what stands before its colon ("exec_create: sh");
    container, volume, … match id or name or the begin of one, as moby's daemon/events/filter.go
    does; label is NAME or NAME=VALUE.
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


def event_range(query: Query, now_ns: int) -> tuple[int | None, int | None]:
    """since and until, wall clock in ns; InvalidArgument where until is the earlier one.

    Beside docker's seconds and RFC 3339 it may be a duration before now ("10m").
    """
    since, until = _moment(query, "since", now_ns), _moment(query, "until", now_ns)
    if until is not None and until < (since or 0):
        raise InvalidArgument(
            f"`since` time ({query.get('since', '0'):.40}) cannot be after `until` time "
            f"({query['until']:.40})"
        )
    return since, until


def _moment(query: Query, name: str, now_ns: int) -> int | None:
    text = query.get(name, "")
    if text[-1:].isalpha() and text[-1] != "Z":
        return now_ns - parse_duration(text)
    return moment(query, name)


def _is_actor(event: Event, kind: str, wanted: str) -> bool:
    if kind == "image" and event.type == "container":
        image = event.attributes.get("image", "")
        return wanted in (image, _without_tag(image))
    if event.type != kind:
        return False
    name = event.attributes.get("name", "")
    return bool(wanted) and (
        event.id.startswith(wanted)
        or name.startswith(wanted.removeprefix("/"))
        or wanted == _without_tag(name if kind == "image" else event.id)
    )


def _without_tag(image: str) -> str:
    head, colon, tag = image.rpartition(":")
    return head if colon and "/" not in tag else image


def _has_label(event: Event, wanted: str) -> bool:
    return wanted.partition("=")[0] not in _NOT_LABELS and has_label(event.attributes, wanted)
