"""What a layer goes through, in docker's words, for whoever watches a pull or push."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from supervisor.docker import progress
from supervisor.oci.manifest import Descriptor
from supervisor.store.layers import Layer

EVERY = 0.1
"""Seconds between two messages that only move a bar."""

Tell = Callable[[dict[str, Any]], None]


class Bar:
    """Tells of progress in bytes, not more often than anybody can see."""

    def __init__(self, text: str, id: str, total: int, tell: Tell) -> None:
        self._text = text
        self._id = id
        self._total = total
        self._tell = tell
        self._told = 0.0

    def at(self, current: int) -> None:
        """So many bytes are done."""
        now = time.monotonic()
        if now - self._told >= EVERY or current == self._total:
            self._told = now
            self._tell(progress.part(self._text, self._id, current, self._total))


class LayerSteps:
    """One layer of a pull; nothing more is told of one that was there from the start."""

    def __init__(self, layer: Layer, tell: Tell) -> None:
        self._id = progress.short(str(layer.blob.digest))
        self._tell = tell
        self._silent = True
        self._size = layer.blob.size
        self._download = Bar("Downloading", self._id, layer.blob.size, tell)
        self._extract = Bar("Extracting", self._id, layer.blob.size, tell)
        self._verifying = False

    def begin(self, *, there: bool) -> None:
        """The pull has come to know of the layer."""
        self._silent = there
        self._tell(progress.step("Already exists" if there else "Pulling fs layer", self._id))

    def downloading(self, current: int) -> None:
        """So many bytes of its blob have come."""
        if self._silent:
            return
        if current < self._size:
            self._download.at(current)
        elif not self._verifying:
            self._verifying = True
            self._say("Verifying Checksum")

    def downloaded(self) -> None:
        """Its blob is there."""
        self._say("Download complete")

    def unpacking(self, blob: Descriptor, told: Mapping[str, Any]) -> None:
        """What the unpacking worker says: {"current": bytes of the blob}."""
        if not self._silent and "current" in told:
            self._extract.at(min(int(told["current"]), self._size))

    def complete(self) -> None:
        """It is unpacked."""
        self._say("Pull complete")

    def _say(self, text: str) -> None:
        if not self._silent:
            self._tell(progress.step(text, self._id))
