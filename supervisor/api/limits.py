"""How much a client may send, and how long it may take."""

from __future__ import annotations

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a JSON body; docker's own limit for them."""

RECEIVE_SIZE = 16 * 1024
"""Bytes taken at once; bounds what a hijack can find behind its request (the preface)."""

STREAM_SIZE = 256 * 1024
"""Bytes of a streamed body taken at once: what one upload holds in memory."""

HEAD_SECONDS = 60.0
"""From a request's first byte to the end of its headers."""

HANDSHAKE_SECONDS = 30.0
"""From accepting a TLS connection to its first byte of HTTP."""

BODY_SECONDS = 60.0
"""Between two pieces of a body."""

STREAM_SECONDS = 600.0
"""Between two pieces of a streamed body, which a slow program may be making meanwhile."""

IDLE_SECONDS = 600.0
"""Without a request on an open connection."""

LINGER_SECONDS = 2.0
"""How long what a refused client still sends is read, so that it sees the answer."""
