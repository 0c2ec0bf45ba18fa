"""Filters of the image list and of pruning, as moby's daemon/images/images.go reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from supervisor.docker.filters import Filters, check_known, fits_labels, flag, until_ns
from supervisor.docker.times import parse_timestamp
from supervisor.errors import InvalidArgument
from supervisor.lifecycle.patterns import BadPattern, Pattern

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


class ImageFilter(msgspec.Struct, frozen=True, kw_only=True):
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
        if not self._fits_age(image):
            return None
        if not fits_labels(image.config.labels, self.labels, self.without_labels):
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

    def _fitting(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(n for n in names if any(refers(n, pattern) for pattern in self.references))


def list_filter(filters: Filters, created_of: Callable[[str], str], now_ns: int) -> ImageFilter:
    """The filter of GET /images/json; `created_of` tells when the image of a name was made.

    Raises InvalidArgument for a filter or value that is none, and what `created_of` raises.
    """
    check_known(filters, _LIST)
    before = [created_ns(created_of(ref)) for ref in filters.get("before", ())]
    since = [created_ns(created_of(ref)) for ref in filters.get("since", ())]
    if (until := until_ns(filters, now_ns)) is not None:
        before.append(until)
    return ImageFilter(
        dangling=flag(filters, "dangling"),
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        references=filters.get("reference", ()),
        before_ns=min(before, default=None),
        since_ns=max(since, default=None),
    )


def prune_filter(filters: Filters, now_ns: int) -> ImageFilter:
    """The filter of POST /images/prune: what is dangling, unless dangling=false: all."""
    check_known(filters, _PRUNE)
    everything = flag(filters, "dangling") is False
    return ImageFilter(
        dangling=None if everything else True,
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        before_ns=until_ns(filters, now_ns),
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
    return expression.search(name) or expression.search(repository)


@lru_cache(maxsize=4)  # those of one list
def _expression(pattern: str) -> Pattern:
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
        return Pattern(f"^(?:{''.join(parts)})$")
    except BadPattern:
        raise InvalidArgument(f"invalid filter 'reference={pattern:.80}'") from None
