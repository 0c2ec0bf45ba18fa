"""`orlop logs`: what was written, exactly, with its times, across rotation, and as it comes."""

from __future__ import annotations

import re
import time

from tests.api.box import IMAGE, Box

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


def finished(box: Box, script: str, *flags: str) -> str:
    """The id of a container that ran `script` and ended."""
    identity = box.start(*flags, script=script)
    box.ok("wait", identity)
    return identity


def test_streams_come_apart_again(box: Box) -> None:
    done = box.orlop("logs", finished(box, "echo out; echo err >&2"))
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_exact_bytes(box: Box) -> None:
    octal = "".join(f"\\{byte:03o}" for byte in range(256))
    identity = finished(box, f"printf '{octal}{octal}'; head -c 100000 /dev/zero; printf end")
    received: object = box.orlop("logs", identity, text=False).stdout
    assert received == bytes(range(256)) * 2 + bytes(100000) + b"end"


def test_tail(box: Box) -> None:
    identity = finished(box, "seq 1 5000")
    assert box.logs(identity, "--tail", "3") == "4998\n4999\n5000\n"
    assert box.logs(identity, "-n", "0") == ""
    assert len(box.logs(identity, "--tail", "all").splitlines()) == 5000


def test_timestamps_since_and_until(box: Box) -> None:
    identity = finished(box, "echo early; sleep 1.2; echo late")
    lines = box.logs(identity, "-t").splitlines()
    assert all(STAMP.match(line) for line in lines)
    late = lines[1].split()[0]
    assert box.logs(identity, "--since", late) == "late\n"
    assert box.logs(identity, "--until", lines[0].split()[0]) == "early\n"
    assert box.logs(identity, "--since", "1h") == "early\nlate\n"
    assert box.logs(identity, "--since", str(int(time.time()) + 100)) == ""


def test_follow_until_the_end(box: Box) -> None:
    identity = box.start(script="for n in 1 2 3; do echo $n; sleep 0.2; done")
    with box.running("logs", "-f", identity) as following:
        out, _ = following.communicate(timeout=60)
    assert out == b"1\n2\n3\n"


def test_follow_shows_a_line_at_once(box: Box) -> None:
    identity = box.start("-i", script="echo first; sleep 100000")
    with box.running("logs", "-f", identity) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == b"first\n"


def test_several_containers(box: Box) -> None:
    box.ok("wait", box.start("--name", "one", "--label", "of=many", script="echo early; exit 3"))
    box.start("--name", "other", "--label", "of=many", script="echo mid; sleep 0.5; echo late >&2")
    with box.running("logs", "-f", "one", "other") as following:
        out, err = following.communicate(timeout=60)
    assert sorted(out.splitlines()) == [b"one   | early", b"other | mid"]
    assert err == b"other | late\n"
    done = box.orlop("logs", "--label", "of=many")
    assert (done.stdout, done.stderr) == ("one   | early\nother | mid\n", "other | late\n")


def test_follow_across_rotation_loses_nothing(box: Box) -> None:
    flags = ("--log-opt", "max-size=20k", "--log-opt", "max-file=3")
    script = "sleep 0.5; for n in $(seq 1 40); do seq $((n*100-99)) $((n*100)); sleep 0.03; done"
    identity = box.start(*flags, script=script)
    with box.running("logs", "-f", identity) as following:
        out, _ = following.communicate(timeout=120)
    assert out.decode().split() == [str(n) for n in range(1, 4001)]
    folder = box.daemon.data_root / "containers" / identity
    logs = sorted(folder.glob("container.log*"))
    assert 1 < len(logs) <= 3
    assert all(log.stat().st_size <= 25_000 for log in logs)
    kept = [int(line) for line in box.logs(identity).split()]
    assert kept == list(range(kept[0], 4001))
    assert kept[0] > 1


def test_tail_reaches_into_the_older_file(box: Box) -> None:
    identity = finished(box, "seq 1 2000", "--log-opt", "max-size=40k", "--log-opt", "max-file=5")
    expected = "".join(f"{n}\n" for n in range(501, 2001))
    assert box.logs(identity, "--tail", "1500") == expected


def test_terminal_output_is_logged(box: Box) -> None:
    identity = finished(box, "echo one; echo two >&2", "-t")
    received: object = box.orlop("logs", identity, text=False).stdout
    assert received == b"one\r\ntwo\r\n"


def test_of_a_container_that_runs_again_both_runs_show(box: Box) -> None:
    box.ok("create", "--name", "twice", IMAGE, "echo", "run")
    for lines in (1, 2):
        box.ok("start", "twice")
        box.ok("wait", "twice")
        assert box.logs("twice") == "run\n" * lines
