"""Filters of pruning containers, and the answer to it, as moby's daemon/prune.go has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.docker.filters import Filters
from supervisor.docker.times import parse_timestamp
from supervisor.docker.views import ContainerView
from supervisor.errors import InvalidArgument
from supervisor.spec.units import parse_duration

_KNOWN = frozenset({"label", "label!", "until"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFilter:
    """Checked filters; `until_ns` is the newest moment of creation that still goes."""

    labels: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    until_ns: int | None = None

    def takes(self, view: ContainerView) -> bool:
        """True if this container is to go: it is at rest, and the filters fit."""
        if view.running or view.status == "removing":
            return False
        if self.until_ns is not None and view.created_ns > self.until_ns:
            return False
        labels = view.labels
        return all(_has_label(labels, label) for label in self.labels) and not any(
            _has_label(labels, label) for label in self.without_labels
        )


def prune_filter(filters: Filters, now_ns: int) -> PruneFilter:
    """The filters of POST /containers/prune; InvalidArgument for one that it does not know."""
    for name in filters:
        if name not in _KNOWN:
            raise InvalidArgument(f"invalid filter '{name:.80}'")
    until = filters.get("until", ())
    if len(until) > 1:
        raise InvalidArgument("more than one until filter specified")
    return PruneFilter(
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        until_ns=_moment(until[0], now_ns) if until else None,
    )


def pruned_json(ids: Sequence[str], reclaimed: int) -> dict[str, Any]:
    """The answer; `reclaimed` in bytes. Docker has null where nothing was deleted."""
    return {"ContainersDeleted": list(ids) or None, "SpaceReclaimed": reclaimed}


def _moment(text: str, now_ns: int) -> int:
    """A Go duration ago, or a point in time."""
    try:
        return now_ns - parse_duration(text)
    except InvalidArgument:
        return parse_timestamp("until", text)


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
