"""Inputs out of other inputs: the same for the same number to begin with, on every machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from tests.fuzz.target import Target

# Lengths and counts are wrong most often around these.
_NUMBERS = (
    *(b"0", b"-1", b"1e9", b"2147483648", b"4294967295", b"9223372036854775808", b"9" * 40),
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\x10", b"\x04\0"),
)
_CHARACTERS = (b"\0", b"\n", b" ", b'"', b"\\", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"/../")
_VALUES = (b"null", b"true", b"[]", b"{}", b'""', b"0", b"1.5", b'[""]', b'{"a":1}', b"x")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[A-Za-z_]+|[0-9]+')
_MOST_CHANGES = 6
_NEAR = 4096


def inputs(target: Target, seed: int) -> Iterator[bytes]:
    """The target's seeds, then without end what comes of changing them."""
    yield from target.seeds
    random = Random(seed)
    words = (*target.words, *_NUMBERS, *_CHARACTERS)
    while True:
        data = bytearray(random.choice(target.seeds) if target.seeds else b"")
        # One change finds what is checked first, several what stands behind that.
        for _ in range(1 + random.randrange(_MOST_CHANGES) * random.randrange(2)):
            _change(data, random, words, target.seeds)
        yield bytes(data[: target.longest])


def _change(
    data: bytearray, random: Random, words: Sequence[bytes], seeds: Sequence[bytes]
) -> None:
    at = random.randrange(len(data) + 1)
    size = 1 + random.randrange(1 << random.randrange(1, 7))
    match random.randrange(12):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1 if at < len(data):
            data[at] = random.randrange(256)
        case 2:
            data[at:at] = random.randbytes(size)
        case 3:
            del data[at : at + size]
        case 4:  # the same again
            data[at:at] = data[at : at + size] * (1 + random.randrange(8))
        case 5:
            word = random.choice(words)
            data[at : at + len(word)] = word
        case 6:
            data[at:at] = random.choice(words)
        case 7:  # a piece of another one
            other = random.choice(seeds) if seeds else b""
            start = random.randrange(len(other) + 1)
            data[at:at] = other[start : start + 4 * size]
        case 8:
            del data[at:]
        case 9 | 10:  # another value, or of another type
            # Not in all of a long one: to look for them would cost more than what is tested.
            near = at if len(data) > _NEAR else 0
            found = [*_TOKEN.finditer(data, near, near + _NEAR)]
            if found:
                token = random.choice(found)
                data[token.start() : token.end()] = random.choice((*words, *_VALUES))
        case _:  # deep, or many
            data[at:at] = random.choice(words) * (1 << random.randrange(4, 11))
