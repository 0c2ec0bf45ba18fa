"""Filters of pruning containers, and the answer to it, as moby's daemon/prune.go has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from supervisor.docker.filters import Filters, check_known, fits_labels, until_ns
from supervisor.docker.views import ContainerView

_KNOWN = frozenset({"label", "label!", "until"})


class PruneFilter(msgspec.Struct, frozen=True, kw_only=True):
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
        return fits_labels(view.labels, self.labels, self.without_labels)


def prune_filter(filters: Filters, now_ns: int) -> PruneFilter:
    """The filters of POST /containers/prune; InvalidArgument for one that it does not know."""
    check_known(filters, _KNOWN)
    return PruneFilter(
        labels=filters.get("label", ()),
        without_labels=filters.get("label!", ()),
        until_ns=until_ns(filters, now_ns),
    )


def pruned_json(ids: Sequence[str], reclaimed: int) -> dict[str, Any]:
    """The answer; `reclaimed` in bytes. Docker has null where nothing was deleted."""
    return {"ContainersDeleted": list(ids) or None, "SpaceReclaimed": reclaimed}
