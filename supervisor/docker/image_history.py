"""GET /images/{name}/history, as moby's daemon/images/image_history.go makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from supervisor.oci.config import HistoryEntry, unix_seconds

MISSING = "<missing>"


class Named(Protocol):
    """An image as its history names it."""

    @property
    def id(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...


def history_json(
    entries: Sequence[HistoryEntry], layer_sizes: Sequence[int], line: Sequence[Named]
) -> list[dict[str, Any]]:
    """Rows, newest first, for a config's `entries` (oldest first).

    `layer_sizes` are bytes, lowest layer first; `line` the image itself, its parent on this
    host, that one's parent and so on. A history with more steps than the image has layers is
    shown with sizes of 0.
    """
    rows: list[dict[str, Any]] = []
    sizes = list(layer_sizes)
    for entry in entries:
        rows.insert(
            0,
            {
                "Comment": entry.comment,
                "Created": unix_seconds(entry.created),
                "CreatedBy": entry.created_by,
                "Id": MISSING,
                "Size": 0 if entry.empty_layer or not sizes else sizes.pop(0),
                "Tags": None,
            },
        )
    for row, image in zip(rows, line, strict=False):
        row["Id"], row["Tags"] = image.id, list(image.tags) or None
    return rows
