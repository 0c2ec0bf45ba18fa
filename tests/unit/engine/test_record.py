"""A container's record: what it keeps of its mounts, and records of older versions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.docker.create import from_json as body_from_json
from supervisor.docker.create import to_json as body_to_json
from supervisor.engine.record import Record, decode
from supervisor.errors import ProtocolError
from supervisor.lifecycle import machine as m
from supervisor.lifecycle.health import Health, Result
from supervisor.lifecycle.history import LENGTH, PastRun
from supervisor.lifecycle.restart import restart_policy
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.networks import (
    Bandwidth,
    EndpointOptions,
    EndpointRun,
    NetworkRun,
    PublishedPort,
)
from supervisor.spec.types import Mount
from tests.unit.docker.bodies import decoded, options

POINTS = (
    MountPoint(type="volume", destination="/v", name="v1", source="/r/volumes/v1/_data"),
    MountPoint(type="volume", destination="/a", name="0" * 64, source="/r", anonymous=True),
    MountPoint(type="bind", destination="/etc/hosts", source="/h", propagation="rprivate"),
    MountPoint(type="tmpfs", destination="/t", words="size=1"),
)


def record(host: dict[str, Any] | None = None, **changes: Any) -> Record:
    body = decoded(host)
    return Record(
        **{
            "id": "c1",
            "name": "n1",
            "created_ns": 1,
            "image_id": "",
            "image_ref": "",
            "lowers": ("/l",),
            "rootfs_writable": False,
            "body": body_from_json(body_to_json(body)),
            "options": options(host),
            "state": m.State(auto_remove=False, policy=restart_policy("no", 0)),
            **changes,
        }
    )


def test_how_a_state_is_written() -> None:
    """Daemons of other versions read it: OCI's spelling of names, without what is the default."""
    end = m.Exit(137, signal=9, oom_killed=True)
    state = m.State(run=3, exit=end, policy=restart_policy("on-failure", 2), oom_kills=1)
    assert json.loads(record(state=state).encode())["state"] == {
        "run": 3,
        "exit": {"code": 137, "signal": 9, "oomKilled": True},
        "policy": {"name": "on-failure", "max": 2},
        "oomKills": 1,
    }


def test_how_health_and_history_are_written() -> None:
    health = Health(failing_streak=1, log=(Result(start_ns=1, end_ns=2, exit_code=1),))
    past = PastRun(run=1, reason="error", code=1, memory_peak=7)
    document = json.loads(record(health=health, history=(past,)).encode())
    log = [{"startNs": 1, "endNs": 2, "exitCode": 1}]
    assert document["health"] == {"failingStreak": 1, "log": log}
    assert document["history"] == [{"run": 1, "reason": "error", "code": 1, "memoryPeak": 7}]


@pytest.mark.parametrize("state", [{"pid": "7"}, {"phase": "asleep"}, {"exit": {}}, 7])
def test_a_state_that_is_none_is_refused(state: Any) -> None:
    document = json.loads(record().encode()) | {"state": state}
    with pytest.raises(ProtocolError, match="container record"):
        decode(json.dumps(document).encode())


def test_text_that_is_no_utf8_survives() -> None:
    """The text of an error may have a path in it as the file system has it."""
    state = m.State(failure="/bin/\udcff: no such file")
    assert decode(record(state=state).encode()).state == state


def test_round_trip() -> None:
    before = record(mounts=POINTS, take_volumes=True)
    after = decode(before.encode())
    assert (after.mounts, after.take_volumes) == (POINTS, True)
    assert after.volumes == {"v1", "0" * 64}
    assert after.anonymous_volumes == ("0" * 64,)


def test_networks_are_kept() -> None:
    asked = EndpointOptions(network="n" * 64, aliases=("a",), bandwidth=Bandwidth(down=8))
    place = EndpointRun(
        network="n" * 64, endpoint_id="e", port="p", interface="eth0", mac="m", names=("web",)
    )
    port = PublishedPort(container_port=80, protocol="tcp", host_ip="::", host_port=8080)
    run = NetworkRun(endpoints=(place,), ports=(port,), default="n" * 64)
    before = record(endpoints=(asked,), network=run)
    after = decode(before.encode())
    assert (after.endpoints, after.network) == ((asked,), run)
    before.network = None  # as it changes with each run
    assert decode(before.encode()).network is None


def test_health_is_kept_where_there_is_any() -> None:
    before = record()
    assert decode(before.encode()).health is None
    assert "health" not in json.loads(before.encode())
    result = Result(start_ns=1, end_ns=2, exit_code=-1, output="späť\n")
    before.health = Health(status="unhealthy", failing_streak=4, log=(result,))
    assert decode(before.encode()).health == before.health


def test_a_record_from_before_there_were_networks() -> None:
    whole = json.loads(record().encode())
    del whole["network"], whole["fixed"]["endpoints"]
    after = decode(json.dumps(whole).encode())
    assert (after.endpoints, after.network) == ((), None)


def test_a_record_from_before_there_were_volumes() -> None:
    before = record({"Binds": ["/srv:/data:ro"], "Mounts": [{"Type": "tmpfs", "Target": "/t"}]})
    whole = json.loads(before.encode())
    for name in ("mounts", "take_volumes"):
        del whole["fixed"][name]
    for mount in whole["fixed"]["options"]["binds"]:
        mount.pop("subpath", None)
    after = decode(json.dumps(whole).encode())
    assert [(p.type, p.destination, p.read_only) for p in after.mounts] == [
        ("bind", "/data", True),
        ("tmpfs", "/t", False),
    ]
    assert after.options.binds == (
        Mount(destination="/data", type="bind", source="/srv", options=("rbind", "rprivate", "ro")),
    )
    assert after.take_volumes is False


def test_a_record_that_makes_no_sense() -> None:
    whole = json.loads(record(mounts=POINTS).encode())
    whole["fixed"]["mounts"][0]["type"] = 5
    with pytest.raises(ProtocolError):
        decode(json.dumps(whole).encode())


def test_stubs_are_mount_points_that_nobody_asked_for() -> None:
    own = record(mounts=POINTS)
    assert own.stubs == ("/dev", "/proc", "/sys", "/etc/hostname", "/etc/resolv.conf")


def test_the_history_is_kept_and_bounded() -> None:
    before = record()
    after = decode(before.encode())
    for run in range(1, LENGTH + 3):
        before.remember(PastRun(run, "error", 3, policy=restart_policy("on-failure", 2)))
        after = decode(before.encode())
        assert after.history == before.history
        assert after.history[-1].run == run
    assert [one.run for one in after.history] == list(range(3, LENGTH + 3))
    assert decode(after.encode()).history == after.history
