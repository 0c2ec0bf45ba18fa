"""Packing the zygote's memory before it forks.

pymalloc hands out what is free in pools that are partly used: a fork's new objects would lie
between old ones, each on a page that is shared until then. With those gaps filled, they come
from fresh pools, many to a page.
"""

SMALLEST, LARGEST, STEP = 16, 512, 16  # CPython's Objects/obmalloc.c
POOL_SIZE = 1 << 14
POOL_HEADER = 48
BYTES_HEADER = 33
MOST = 4096  # should another allocator be at work


def fill_gaps() -> list[object]:
    """Objects that fill each size's partly used pools, for as long as the result lives."""
    kept: list[object] = []
    for size in range(SMALLEST, LARGEST + STEP, STEP):
        for _ in range(MOST):
            kept.append(_block(size))
            if id(kept[-1]) % POOL_SIZE == POOL_HEADER:  # the first of a pool
                break
    return kept


def _block(size: int) -> object:
    """A new object that takes one block of this size."""
    if size < BYTES_HEADER:
        return object() if size == SMALLEST else float(size)
    return bytes(bytearray(size - BYTES_HEADER))
