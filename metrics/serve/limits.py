"""How much a scraper may send and how long it may take."""

from __future__ import annotations

MAX_CONNECTIONS = 32
"""Open at once; for one more the longest idle one is closed."""

MAX_SCRAPES = 8
"""Answered at once, each of which holds its figures in memory; more wait."""

MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""

RECEIVE_SIZE = 16 * 1024

HANDSHAKE_SECONDS = 10.0

HEAD_SECONDS = 10.0
"""From a request's first byte to the end of its headers."""

IDLE_SECONDS = 300.0
"""Without a request on an open connection: longer than between two scrapes."""

ANSWER_SECONDS = 30.0
"""For the whole of an answer: a scraper that reads more slowly is cut off."""

MAX_WATCHERS = 8
"""Who follow the events at once, each of which holds a connection; one more is refused."""

WATCHER_SECONDS = 10.0
"""For an event to be taken: a client that reads more slowly is dropped."""

BEAT_SECONDS = 15.0
"""Between two signs of life to who follows the events."""

WATCH_SECONDS = 900.0
"""After which who follows has to come again, and is asked for a password again."""

CLOSE_SECONDS = 2.0
"""For TLS to say goodbye."""
