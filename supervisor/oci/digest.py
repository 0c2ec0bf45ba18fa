"""Content digests: `sha256:` and 64 lower-case hexadecimal digits.

Grammar and registered algorithms: OCI image-spec, descriptor.md "Digests". Only the two
algorithms of that document are known; whatever else comes in is refused here, so that a
digest's text may be used as a file name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from supervisor.errors import InvalidArgument

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
_ENCODED = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Digest:
    """A checked digest; `str()` gives `algorithm:encoded`."""

    algorithm: str
    encoded: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """A digest from its text; raises InvalidArgument."""
        algorithm, colon, encoded = text.partition(":")
        length = HEX_LENGTHS.get(algorithm)
        if not colon or length is None:
            raise InvalidArgument(f"unsupported digest algorithm: {text!r:.80}")
        if len(encoded) != length or not _ENCODED.fullmatch(encoded):
            raise InvalidArgument(f"invalid checksum digest format: {text!r:.160}")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of `data`."""
        return cls("sha256", hashlib.sha256(data).hexdigest())
