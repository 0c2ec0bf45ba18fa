"""Chain ids: the name of a stack of layers, of which each unpacked folder has one.

OCI image-spec, config.md "Layer ChainID": the first layer's chain id is its diff id;
that of each further one is the digest of "PARENT-CHAIN-ID DIFF-ID".
"""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.oci.digest import Digest


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The chain id of every layer, in the order of `diff_ids` (lowest layer first)."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
