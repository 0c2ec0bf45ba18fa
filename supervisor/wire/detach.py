"""The keys that detach a terminal from a container (`--detach-keys`)."""

from __future__ import annotations

from supervisor.errors import InvalidArgument

DEFAULT_KEYS = bytes([16, 17])

# The control characters 0–31 in order of their codes: ctrl-@ is 0, ctrl-a is 1, …
_CONTROL = {f"ctrl-{key}": code for code, key in enumerate("@abcdefghijklmnopqrstuvwxyz[\\]^_")}


def parse_keys(text: str) -> bytes:
    """The bytes of a sequence such as "ctrl-p,ctrl-q" or "a,b"; "" means docker's default."""
    if not text:
        return DEFAULT_KEYS
    return bytes(_key(name) for name in text.split(","))


def _key(name: str) -> int:
    if len(name) == 1 and name.isascii():
        return ord(name)
    code = _CONTROL.get(name.lower())
    if code is None:
        raise InvalidArgument(
            f"invalid detach keys: unknown key '{name}'; "
            "use single characters or ctrl-a … ctrl-z, ctrl-@, ctrl-[, ctrl-\\, ctrl-], ctrl-^, "
            "ctrl-_, separated by commas"
        )
    return code


class Detacher:
    """Watches what a client types for the detach keys.

    Bytes that may be the begin of the keys are held back until the next ones decide; where
    the input is cut makes no difference. Without keys nothing detaches.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""
        self._detached = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(bytes to pass on, detached?); what follows the keys is dropped."""
        if self._detached:
            return b"", True
        data = self._held + data
        at = data.find(self._keys) if self._keys else -1
        if at >= 0:
            self._held, self._detached = b"", True
            return data[:at], True
        passed = len(data) - self._overlap(data)
        self._held = data[passed:]
        return data[:passed], False

    def flush(self) -> bytes:
        """The input ended: what was held back is to be passed on after all."""
        held, self._held = self._held, b""
        return held

    def _overlap(self, data: bytes) -> int:
        """How many bytes at the end of `data` the keys begin with."""
        longest = min(len(data), len(self._keys) - 1)
        return next((n for n in range(longest, 0, -1) if self._keys.startswith(data[-n:])), 0)
