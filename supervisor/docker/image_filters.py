"""Filters of the image list and of pruning, as moby's daemon/images/images.go reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from supervisor.docker.filters import Filters, flag
from supervisor.docker.times import parse_timestamp
from supervisor.errors import InvalidArgument
from supervisor.spec.units import parse_duration

_LIST = frozenset({"before", "dangling", "label", "label!", "reference", "since", "until"})
_PRUNE = frozenset({"dangling", "label", "label!", "until"})


class Labelled(Protocol):
    """The part of an image's config that filters look at."""

    @property
    def labels(self) -> Mapping[str, str]: ...


class Filterable(Protocol):
    """What filters look at."""

    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def repo_digests(self) -> Sequence[str]: ...
    @property
    def created(self) -> str: ...
    @property
    def config(self) -> Labelled: ...


class Names(NamedTuple):
    """By which names an image is shown."""

    tags: tuple[str, ...]
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter:
    """Checked filters; times in ns since 1970, exclusive."""

    dangling: bool | None = None
    labels: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    before_ns: int | None = None
    since_ns: int | None = None

    def shown(self, image: Filterable) -> Names | None:
        """The names to show the image by; None if it is not to be shown."""
        names = Names(tuple(image.tags), tuple(image.repo_digests))
        if not (self._fits_age(image) and self._fits_labels(image)):
            return None
        if self.dangling is True and names.tags:
            return None
        if self.dangling is False and not (names.tags or names.digests):
            return None
        if not self.references:
            return names
        fitting = Names(self._fitting(names.tags), self._fitting(names.digests))
        return fitting if fitting.tags or fitting.digests else None

    def _fits_age(self, image: Filterable) -> bool:
        if self.before_ns is None and self.since_ns is None:
            return True
        created = created_ns(image.created)
        return (self.before_ns is None or created < self.before_ns) and (
            self.since_ns is None or created > self.since_ns
        )

    def _fits_labels(self, image: Filterable) -> bool:
        labels = image.config.labels
        return all(_has_label(labels, label) for label in self.labels) and not any(
            _has_label(labels, label) for label in self.without_labels
        )

    def _fitting(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(n for n in names if any(refers(n, pattern) for pattern in self.references))


def list_filter(filters: Filters, created_of: Callable[[str], str], now_ns: int) -> ImageFilter:
    """The filter of GET /images/json; `created_of` tells when the image of a name was made.

    Raises InvalidArgument for a filter or value that is none, and what `created_of` raises.
    """
    _check(filters, _LIST)
    before = [created_ns(created_of(ref)) for ref in filters.get("before", ())]
    since = [created_ns(created_of(ref)) for ref in filters.get("since", ())]
    until = _until(filters, now_ns)
    return ImageFilter(
        dangling=flag(filters, "dangling"),
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        references=filters.get("reference", ()),
        before_ns=min([*before, *until], default=None),
        since_ns=max(since, default=None),
    )


def prune_filter(filters: Filters, now_ns: int) -> ImageFilter:
    """The filter of POST /images/prune: what is dangling, unless dangling=false: all."""
    _check(filters, _PRUNE)
    everything = flag(filters, "dangling") is False
    return ImageFilter(
        dangling=None if everything else True,
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        before_ns=min(_until(filters, now_ns), default=None),
    )


def created_ns(created: str) -> int:
    """RFC 3339 in ns since 1970; 0 for what is no time."""
    try:
        return max(0, parse_timestamp("created", created))
    except InvalidArgument:
        return 0


def refers(name: str, pattern: str) -> bool:
    """Go's path.Match of a familiar name, whole or without tag and digest: `*` stops at `/`."""
    repository = name.partition("@")[0]
    if repository == name:
        repository = name.rpartition(":")[0]
    expression = _expression(pattern)
    return bool(expression.fullmatch(name) or expression.fullmatch(repository))


@lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        end = pattern.find("]", position + 2) if character == "[" else -1
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif end > 0:
            inside = pattern[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{inside}]")
            position = end
        else:
            parts.append(re.escape(character))
        position += 1
    try:
        return re.compile("".join(parts))
    except re.error:
        raise InvalidArgument(f"invalid filter 'reference={pattern:.80}'") from None


def _check(filters: Filters, known: frozenset[str]) -> None:
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name:.80}'")


def _until(filters: Filters, now_ns: int) -> list[int]:
    values = filters.get("until", ())
    if len(values) > 1:
        raise InvalidArgument("more than one until filter specified")
    return [_moment(value, now_ns) for value in values]


def _moment(text: str, now_ns: int) -> int:
    """A Go duration ago, or a point in time."""
    try:
        return now_ns - parse_duration(text)
    except InvalidArgument:
        return parse_timestamp("until", text)


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
