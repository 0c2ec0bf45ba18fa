"""Pruning on a running daemon: what runs is left alone, and docker and orlop say the same."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from tests.api.box import IMAGE, Box


def test_prune_takes_what_rests_and_tells_the_bytes(box: Box) -> None:
    running = box.start()
    paused = box.start()
    box.ok("pause", paused)
    created = box.ok("create", IMAGE, "true")
    written = box.ok("create", IMAGE, "sh", "-c", "head -c 100000 /dev/zero >/f")
    box.ok("start", "-a", written)
    rows = json.loads(box.ok("system", "df", "--format", "json").splitlines()[1])
    answer = box.daemon.request("POST", "/containers/prune")[1]
    assert set(answer["ContainersDeleted"]) == {created, written}
    assert answer["SpaceReclaimed"] >= 100000
    assert rows["Type"] == "Containers"
    assert set(box.ids()) == {running, paused}
    assert (box.status(running), box.status(paused)) == ("running", "paused")
    box.ok("unpause", paused)
    filters = quote(json.dumps({"event": ["prune"], "type": ["container"]}))
    path = f"/events?since=0&until={time.time():.9f}&filters={filters}"
    event = box.daemon.request("GET", path)[1]
    assert event["Actor"] == {
        "ID": "",
        "Attributes": {"reclaimed": str(answer["SpaceReclaimed"])},
    }


def test_docker_and_orlop_say_the_same(box: Box) -> None:
    outputs = []
    for command in (box.daemon.docker, box.daemon.orlop):
        box.start("--name", "stays")
        made = box.ok("create", "--label", "k=v", IMAGE, "true")
        box.ok("create", "--name", "other", IMAGE, "true")
        asked = command("container", "prune", "--filter", "label=k=v", input="y\n")
        rest = command("system", "prune", "--force", "--volumes")
        warned = command("system", "prune", "-a", "--filter", "label=k", input="n\n")
        assert (asked.returncode, rest.returncode) == (0, 0), (asked, rest)
        assert made in asked.stdout
        assert "Deleted Containers:" in rest.stdout
        assert len(box.ids()) == 1
        outputs.append((asked.stdout.replace(made, "ID"), warned.stdout.partition("Are you")[0]))
        box.remove_all()
    (docker_asked, docker_warned), (orlop_asked, orlop_warned) = outputs
    assert orlop_asked == docker_asked
    # Docker warns of its builder's cache, too, which there is not here.
    lines = [line for line in docker_warned.splitlines() if "build cache" not in line]
    assert orlop_warned.splitlines() == lines


def test_containers_that_are_being_started_are_not_touched(box: Box) -> None:
    made = [box.ok("create", IMAGE, "sleep", "1000") for _ in range(8)]
    with ThreadPoolExecutor(9) as threads:
        starts = [
            threads.submit(box.daemon.request, "POST", f"/containers/{one}/start") for one in made
        ]
        pruned = threads.submit(box.daemon.request, "POST", "/containers/prune").result()
        started = {one: start.result()[0] for one, start in zip(made, starts, strict=True)}
    assert pruned[0] == 200
    gone = set(pruned[1]["ContainersDeleted"] or ())
    assert set(box.ids()) == set(made) - gone
    for one, status in started.items():
        # Nobody was told that a container runs which the pruning then took.
        assert (status == 204) == (one not in gone), (one, status)
        assert one in gone or box.status(one) == "running"
