"""The view of a container is made once, and anew whenever something that it shows has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from supervisor.docker.create import CreateBody
from supervisor.engine.record import Record
from supervisor.engine.view import container_view
from supervisor.lifecycle.health import Health
from supervisor.lifecycle.history import PastRun
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.networks import EndpointOptions, NetworkRun
from tests.unit.engine.test_record import record


class Engine(SimpleNamespace):
    """What a view is made from besides the record."""

    def __init__(self) -> None:
        super().__init__(sessions=(), hostnames="c1", network=SimpleNamespace(name="front"))
        self.execs = SimpleNamespace(of=lambda _id: self.sessions)
        self.host = SimpleNamespace(
            hostname=lambda _record: self.hostnames, root=SimpleNamespace(containers=Path("/c"))
        )
        self.networks = SimpleNamespace(
            find=lambda _id: self.network, predefined_id=lambda mode: mode
        )


def shown(engine: Any, record: Record, container: Any = None) -> Any:
    """The view, and the container that remembers it."""
    container = container or SimpleNamespace(
        record=record, state=record.state, view=None, stages={}
    )
    container.state = record.state
    return container_view(engine, container), container


CHANGES: dict[str, dict[str, Any]] = {
    "state": {"state": msgspec.structs.replace(record().state, pid=7, started_ns=5)},
    "name": {"name": "n2"},
    "body": {"body": CreateBody(image="other")},
    "mounts": {"mounts": (MountPoint(type="tmpfs", destination="/t", words=""),)},
    "endpoints": {"endpoints": (EndpointOptions(network="n"),)},
    "network": {"network": NetworkRun(default="n")},
    "health": {"health": Health(status="healthy")},
    "history": {"history": (PastRun(1, "error", 3),)},
}


def test_the_same_as_long_as_nothing_changes() -> None:
    engine, of = Engine(), record()
    first, container = shown(engine, of)
    of.state = msgspec.structs.replace(of.state)
    assert shown(engine, of, container)[0] is first


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_of_the_record_is_seen(change: str) -> None:
    engine, of = Engine(), record()
    first, container = shown(engine, of)
    for name, value in CHANGES[change].items():
        setattr(of, name, value)
    second = shown(engine, of, container)[0]
    assert second is not first
    assert second == shown(engine, of)[0]
    assert shown(engine, of, container)[0] is second


@pytest.mark.parametrize("change", [{"sessions": ("e1",)}, {"hostnames": "other"}])
def test_a_change_around_it_is_seen(change: dict[str, Any]) -> None:
    engine, of = Engine(), record()
    first, container = shown(engine, of)
    vars(engine).update(change)
    assert shown(engine, of, container)[0] != first


def test_a_stage_of_a_start_is_seen() -> None:
    engine, of = Engine(), record()
    first, container = shown(engine, of)
    assert first.stages == {}
    container.stages = {"exec": 5}
    assert shown(engine, of, container)[0].stages == {"exec": 5}


def test_a_network_that_has_gone_is_seen() -> None:
    engine, of = Engine(), record(endpoints=(EndpointOptions(network="n" * 64),))
    of.options = replace(of.options, network="bridge")
    engine.network = SimpleNamespace(name="front")
    first, container = shown(engine, of)
    assert [one.network_name for one in first.endpoints] == ["front"]
    engine.network = None
    assert [one.network_name for one in shown(engine, of, container)[0].endpoints] == ["n" * 12]


def test_every_field_that_can_change_is_compared() -> None:
    assert {field for field in Record.__struct_fields__ if not field.startswith("_")} == {
        *CHANGES,
        # These stay as they were made, or change with the body.
        *("id", "created_ns", "image_id", "image_ref", "lowers", "rootfs_writable", "options"),
        "take_volumes",
    }
