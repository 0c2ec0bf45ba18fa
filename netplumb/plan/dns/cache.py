"""What other servers answered, kept for as long as they allow; time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import msgspec

from netplumb.plan.dns.message import Reply

LONGEST = 300  # seconds, whatever a server allows
LARGEST_REPLY = 4096


class _Kept(msgspec.Struct, frozen=True):
    reply: Reply
    since: float
    until: float


class Cache:
    """At most `size` replies; the ones asked for longest ago go first."""

    def __init__(self, size: int = 1000) -> None:
        self.size = size
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, now: float) -> tuple[Reply, int] | None:
        """A reply and its age in whole seconds."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now >= kept.until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept.reply, int(now - kept.since)

    def put(self, key: Hashable, reply: Reply, now: float) -> None:
        """Keep a reply if that is allowed."""
        if reply.ttl <= 0 or reply.truncated or len(reply.data) > LARGEST_REPLY:
            return
        self._kept[key] = _Kept(reply, now, now + min(reply.ttl, LONGEST))
        self._kept.move_to_end(key)
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: the servers to ask have changed."""
        self._kept.clear()
