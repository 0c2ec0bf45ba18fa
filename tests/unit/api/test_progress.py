"""Progress as lines: what a slow client gets of it, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.testing

from supervisor.api.progress import Progress


def moving(id: str, current: int, status: str = "Extracting") -> dict[str, Any]:
    return {"status": status, "id": id, "progressDetail": {"current": current, "total": 9}}


async def test_of_a_bar_that_moves_only_the_last_place_waits() -> None:
    progress = Progress()
    for current in range(1, 5):
        progress.put(moving("a", current))
        progress.put(moving("b", current))
    progress.put({"status": "Pull complete", "progressDetail": {}, "id": "a"})
    progress.put({"status": "Pull complete", "progressDetail": {}, "id": "a"})
    lines = [json.loads(line) for line in (await progress.take()).split(b"\r\n") if line]
    assert [(line["id"], line["progressDetail"].get("current")) for line in lines] == [
        ("a", 4),
        ("b", 4),
        ("a", None),
        ("a", None),
    ]


async def test_it_waits_for_more_and_ends() -> None:
    progress = Progress()
    taken: list[bytes] = []

    async def take() -> None:
        while lines := await progress.take():
            taken.append(lines)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == []
        progress.put({"status": "one"})
        await trio.testing.wait_all_tasks_blocked()
        progress.put({"status": "two"})
        progress.end()
    assert taken == [b'{"status":"one"}\r\n', b'{"status":"two"}\r\n']
