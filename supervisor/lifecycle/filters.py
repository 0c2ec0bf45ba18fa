"""`docker ps --filter`: which containers a list shows.

Several values of one key are alternatives, except labels, which must all be there; keys
restrict each other. (Docker's `daemon/list.go`; its JSON is decoded elsewhere.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import msgspec

from supervisor.errors import InvalidArgument
from supervisor.lifecycle.ids import resolve
from supervisor.lifecycle.patterns import SPECIAL, BadPattern, Pattern

STATUSES = frozenset({"created", "running", "paused", "restarting", "removing", "exited", "dead"})
HEALTHS = frozenset({"none", "starting", "healthy", "unhealthy"})
MAX_EXPRESSIONS = 20
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class ContainerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What filters look at.

    `name` has no slash; `status` is docker's; `exit_code` counts only if it is exited and
    ran (`started`); `image` is the reference it was created from, `image_id` its id;
    `volumes` are names and destinations of its mounts; `networks` names and ids; ports are
    the container's, as "80/tcp".
    """

    id: str
    name: str
    status: str
    created_ns: int
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    exit_code: int = 0
    started: bool = False
    image: str = ""
    image_id: str = ""
    volumes: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    health: str = "none"
    published: frozenset[str] = frozenset()
    exposed: frozenset[str] = frozenset()


Test = Callable[[ContainerSummary], bool]
RawFilters = Mapping[str, Collection[str]]


class Filters(msgspec.Struct, frozen=True):
    """Checked filters, ready to be asked."""

    tests: tuple[Test, ...]


def parse(raw: RawFilters, known: Collection[ContainerSummary] = ()) -> Filters:
    """Filters from key → values; `known` are the containers that before and since may name.

    InvalidArgument for an unknown key or a value that cannot be; NotFound for a container.
    """
    for key in raw:
        if key not in _KEYS:
            raise InvalidArgument(f"invalid filter '{key}'")
    return Filters(tuple(_KEYS[key](values, known) for key, values in raw.items() if values))


def matches(summary: ContainerSummary, filters: Filters) -> bool:
    """True if the list is to show this container."""
    return all(test(summary) for test in filters.tests)


def shows_stopped(raw: RawFilters) -> bool:
    """True if the filters ask for containers that do not run even without `--all`."""
    return any(raw.get(key) for key in ("status", "before", "since"))


def _invalid(key: str, value: str) -> InvalidArgument:
    return InvalidArgument(f"invalid filter '{key}={value}'")


def _pattern(value: str) -> Callable[[str], bool]:
    """Equal to `value`, or found by it as a regular expression; one that is none finds nothing."""
    if not SPECIAL.intersection(value):
        return lambda text: value in text
    try:
        search = Pattern(value).search
    except BadPattern:
        return lambda text: text == value
    return lambda text: text == value or search(text)


def _patterns(key: str, values: Collection[str]) -> list[Callable[[str], bool]]:
    if sum(bool(SPECIAL.intersection(value)) for value in values) > MAX_EXPRESSIONS:
        raise InvalidArgument(
            f"invalid filter '{key}': more than {MAX_EXPRESSIONS} regular expressions"
        )
    return [_pattern(value) for value in values]


def _id(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    patterns = _patterns("id", values)
    return lambda c: any(found(c.id) for found in patterns)


def _name(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    """Docker's names begin with a slash, and its users write "^/web" as well as "^web"."""
    patterns = _patterns("name", values)
    return lambda c: any(found(c.name) or found("/" + c.name) for found in patterns)


def _label(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    wanted = [value.partition("=") for value in values]
    return lambda c: all(
        key in c.labels and (not equals or c.labels[key] == value) for key, equals, value in wanted
    )


def _status(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    for value in values:
        if value not in STATUSES:
            raise _invalid("status", value)
    return lambda c: c.status in values


def _health(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    for value in values:
        if value not in HEALTHS:
            raise _invalid("health", value)
    return lambda c: c.health in values


def _exited(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    codes = set()
    for value in values:
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            raise _invalid("exited", value)
        codes.add(int(value))
    return lambda c: c.status in ("exited", "dead") and c.started and c.exit_code in codes


def _ancestor(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    return lambda c: any(_same_image(value, c) for value in values)


def _same_image(value: str, c: ContainerSummary) -> bool:
    """By reference (its tag may be left out), by id or by an id's begin."""
    if c.image and _familiar(value) == _familiar(c.image):
        return True
    digits = value.removeprefix("sha256:")
    is_id = re.fullmatch(r"[0-9a-f]{4,64}", digits) is not None
    return is_id and c.image_id.removeprefix("sha256:").startswith(digits)


def _familiar(reference: str) -> str:
    """A reference as people write it, with its tag: "docker.io/library/x" is "x:latest"."""
    short = reference.removeprefix("docker.io/").removeprefix("library/")
    if "@" in short or ":" in short.rpartition("/")[2]:
        return short
    return short + ":latest"


def _volume(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    return lambda c: not c.volumes.isdisjoint(values)


def _network(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    return lambda c: not c.networks.isdisjoint(values)


def _published(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    ports = _ports("publish", values)
    return lambda c: not c.published.isdisjoint(ports)


def _exposed(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    ports = _ports("expose", values)
    return lambda c: not c.exposed.isdisjoint(ports)


def _ports(key: str, values: Collection[str]) -> frozenset[str]:
    """ "80", "80/udp" and "8000-8010/tcp" as single ports."""
    ports: set[str] = set()
    for value in values:
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", value)
        if match is None:
            raise _invalid(key, value)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= 0xFFFF:
            raise _invalid(key, value)
        ports.update(f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1))
    return frozenset(ports)


def _before(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    bound = min(_created(value, known) for value in values)
    return lambda c: c.created_ns < bound


def _since(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    bound = max(_created(value, known) for value in values)
    return lambda c: c.created_ns > bound


def _created(reference: str, known: Collection[ContainerSummary]) -> int:
    by_id = {c.id: c for c in known}
    return by_id[resolve(reference, by_id, {c.name: c.id for c in known})].created_ns


def _is_task(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    """Swarm's tasks: there are none here."""
    for value in values:
        if value.lower() not in BOOLEANS:
            raise _invalid("is-task", value)
    shown = any(not BOOLEANS[value.lower()] for value in values)
    return lambda c: shown


def _isolation(values: Collection[str], known: Collection[ContainerSummary]) -> Test:
    """A matter of Windows: dockerd on Linux takes it and shows all."""
    return lambda c: True


_KEYS: dict[str, Callable[[Collection[str], Collection[ContainerSummary]], Test]] = {
    "ancestor": _ancestor,
    "before": _before,
    "exited": _exited,
    "expose": _exposed,
    "health": _health,
    "id": _id,
    "is-task": _is_task,
    "isolation": _isolation,
    "label": _label,
    "name": _name,
    "network": _network,
    "publish": _published,
    "since": _since,
    "status": _status,
    "volume": _volume,
}
