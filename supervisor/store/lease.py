"""A lease: what must stay in the store although no image refers to it yet."""

from __future__ import annotations

from supervisor.oci.digest import Digest


class Lease:
    """Digests of blobs and chain ids of layers that garbage collection leaves alone.

    Made by `ImageStore.lease()`, for the length of one pull, load or commit. What it holds
    and no image took over by its end is given back then. In memory only: a crash ends all
    leases, and the next start sweeps away what they held.
    """

    __slots__ = ("blobs", "layers")

    def __init__(self) -> None:
        self.blobs: set[Digest] = set()
        self.layers: set[Digest] = set()
