"""Who gets which ids, and what is said where that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from supervisor.docker.create import CreateBody
from supervisor.docker.host_config import HostConfig
from supervisor.engine.container import Container
from supervisor.engine.record import Record, decode
from supervisor.engine.userns import UserNamespaces, range_of
from supervisor.errors import Conflict, InvalidArgument, OrlopError, Unavailable
from supervisor.kernel.mounts import MountInfo
from supervisor.kernel.probe import Outcome
from supervisor.lifecycle.machine import State
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import Mount
from supervisor.spec.user_ranges import IdRange

CAN: dict[str, Outcome] = {"user-namespaces": (True, "works"), "idmapped-mounts": (True, "works")}
CANNOT = CAN | {"idmapped-mounts": (False, "fsconfig: Invalid argument")}
POOL = IdRange(first=1000, size=3 * 65536)
FIRST = "private:1000:65536"
SECOND = "private:66536:65536"


class World:
    """Containers with records, on a host whose kernel says `outcomes`."""

    def __init__(self, outcomes: dict[str, Outcome] = CAN, pool: IdRange = POOL) -> None:
        self.records: list[Record] = []
        self.points: list[MountInfo] = []
        self.tried = self.made = 0
        self.pool = pool
        self._outcomes = outcomes
        self.userns = self.after_a_restart()

    def after_a_restart(self) -> UserNamespaces:
        self.userns = UserNamespaces(self._containers, self._try, lambda: self.points)
        self.userns.pool = self.pool
        return self.userns

    def _containers(self) -> list[Container]:
        return [cast(Container, SimpleNamespace(record=record)) for record in self.records]

    def _try(self, only: Sequence[str]) -> dict[str, Outcome]:
        assert set(only) == set(CAN)
        self.tried += 1
        return self._outcomes

    async def create(self, userns: str = "", **options: Any) -> Record:
        record = self.new(userns, **options)
        await self.userns.give(record)
        self.records.append(record)
        self.userns.settled(record)
        return record

    def new(self, userns: str = "", **options: Any) -> Record:
        number = self.made
        self.made += 1
        return Record(
            id=f"{number:064x}",
            name=f"box{number}",
            created_ns=number,
            image_id="",
            image_ref="box",
            lowers=("/lower",),
            rootfs_writable=options.pop("rootfs_writable", False),
            body=CreateBody(host_config=HostConfig(userns_mode=userns)),
            options=ContainerOptions(args=("true",), userns=userns, **options),
            state=State(),
        )


def shown(record: Record) -> tuple[str, str]:
    """What inspect says was asked for, and what it really has."""
    return record.body.host_config.userns_mode, record.options.userns


async def test_nobody_who_does_not_ask_gets_any() -> None:
    world = World()
    for word in ("", "host"):
        assert shown(await world.create(word)) == (word, word)
    assert range_of((await world.create()).options) is None
    assert world.tried == 0


async def test_ranges_follow_each_other_and_are_kept_in_the_record() -> None:
    world = World()
    first, second = await world.create("auto"), await world.create("auto:size=10")
    assert shown(first) == ("auto", FIRST)
    assert shown(second) == ("auto:size=10", "private:66536:10")
    assert decode(first.encode()).options == first.options
    assert first.options.userns_chosen
    assert world.tried == 1


async def test_two_that_are_made_at_once() -> None:
    """The first has its range before it has a record."""
    world = World(pool=IdRange(first=1000, size=65536))
    early = world.new("auto")
    await world.userns.give(early)
    with pytest.raises(Conflict, match="1 container has ranges"):
        await world.create("auto")
    with pytest.raises(Conflict, match="which container box0 has for itself"):
        await world.create(FIRST)
    world.userns.settled(early)
    await world.userns.give(world.new("private:1500:1"))
    assert (await world.create("auto:size=5")).options.userns == "private:1000:5"
    with pytest.raises(Conflict, match="no 65036 user ids in a row"):
        await world.create("auto:size=65036")


async def test_one_that_was_never_made_holds_nothing() -> None:
    world = World(pool=IdRange(first=1000, size=65536))
    for _ in range(2):
        record = world.new("auto")
        await world.userns.give(record)
        world.userns.settled(record)
    assert (await world.create("auto")).options.userns == FIRST


async def test_after_a_restart_the_records_tell() -> None:
    world = World()
    await world.create("auto")
    gone = await world.create("auto")
    last = await world.create("auto")
    world.records.remove(gone)
    world.after_a_restart()
    assert (await world.create("auto")).options.userns == SECOND
    world.records.remove(last)
    world.records.remove(world.records[0])
    world.after_a_restart()
    assert (await world.create("auto")).options.userns == "private:132072:65536"


async def test_a_pool_that_is_used_up() -> None:
    world = World()
    for _ in range(3):
        await world.create("auto")
    world.userns.default = "auto"
    for word in ("auto", ""):
        with pytest.raises(Conflict, match=r"3 containers have ranges .*--userns-pool BASE:SIZE"):
            await world.create(word)
    world.records.pop()
    await world.create("auto")


async def test_ids_of_one_that_was_removed_come_last() -> None:
    world = World()
    first, second = await world.create("auto"), await world.create("auto")
    world.records.clear()
    world.userns.removed(second)
    world.userns.removed(first)
    world.userns.removed(await world.create("host"))
    modes = [(await world.create("auto")).options.userns for _ in range(3)]
    assert modes == ["private:132072:65536", SECOND, FIRST]


async def test_a_range_that_somebody_named_is_left_alone() -> None:
    world = World()
    await world.create("private:500:1000")
    assert (await world.create("auto")).options.userns == "private:1500:65536"
    await world.create("private:600:10")  # people may give one to several


async def test_nobody_may_name_one_that_is_anothers_own() -> None:
    world = World()
    await world.create("auto")
    with pytest.raises(Conflict, match=r"overlaps the user ids 1000-66535, which container box0 "):
        await world.create("private:60000:65536")
    assert (await world.create("private:66536:1")).options.userns_chosen is False


IMPOSSIBLE: list[dict[str, Any]] = [
    {"privileged": True},
    {"network": "host"},
    {"pid": f"container:{'d' * 64}"},
    {"rootfs_writable": True},
    {"user": "65536"},
]


@pytest.mark.parametrize("options", IMPOSSIBLE)
async def test_what_cannot_be_is_refused_to_who_asks(options: dict[str, Any]) -> None:
    world = World()
    with pytest.raises(InvalidArgument, match=r"--userns auto and --\S+.* exclude each other"):
        await world.create("auto", **options)
    assert world.tried == 0


@pytest.mark.parametrize("options", [*IMPOSSIBLE, {"cap_add": ("SYS_ADMIN",)}])
async def test_what_cannot_be_has_the_hosts_by_default(options: dict[str, Any]) -> None:
    world = World()
    world.userns.open("auto", POOL)
    assert shown(await world.create("", **options)) == ("host", "")


async def test_the_default() -> None:
    world = World()
    world.userns.open("auto", POOL)
    assert await world.userns.is_default()
    assert world.userns.gives
    assert shown(await world.create()) == ("auto", FIRST)
    assert shown(await world.create("host")) == ("host", "host")
    assert shown(await world.create("private:1:2")) == ("private:1:2", "private:1:2")
    assert shown(await world.create("", ipc="shareable")) == ("auto", SECOND)


async def test_capabilities_that_mean_the_host_can_be_had_with_a_range() -> None:
    assert shown(await World().create("auto", cap_add=("SYS_ADMIN",))) == ("auto", FIRST)


async def test_who_shares_namespaces_has_the_ids_of_whom_it_shares_them_with() -> None:
    world = World()
    world.userns.open("auto", POOL)
    main, other, plain = [await world.create(mode) for mode in ("", "", "host")]
    shared = [f"container:{one.id}" for one in (main, other, plain)]
    for mode in ("", "auto"):
        joiner = await world.create(mode, network=shared[0], ipc=shared[0])
        assert shown(joiner) == ("auto", FIRST)
        assert joiner.options.userns_chosen
    for apart in ({"pid": shared[2]}, {"network": shared[0], "pid": shared[1]}):
        assert shown(await world.create(**apart)) == ("host", "")
        with pytest.raises(InvalidArgument, match="which has not the same user ids"):
            await world.create("auto", **apart)
    assert shown(await world.create("host", ipc=shared[0])) == ("host", "host")
    # The range is in use for as long as one of them is there.
    world.records.remove(main)
    world.userns.removed(main)
    assert shown(await world.create()) == ("auto", "private:132072:65536")
    with pytest.raises(Conflict):
        await world.create()


async def test_layers_that_cannot_be_mapped(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    point = SimpleNamespace(mount_point="/srv", fstype="overlay")
    world.points.append(cast(MountInfo, point))
    world.userns.open("auto", POOL, "/srv/data")
    assert not await world.userns.is_default()
    assert "/srv/data is on a file system whose mounts cannot be idmapped (overlay)" in caplog.text
    assert not await world.userns.is_default()
    assert not world.userns.gives
    assert shown(await world.create()) == ("host", "")
    world.after_a_restart().open("auto", POOL, "/elsewhere")
    assert shown(await world.create()) == ("auto", FIRST)


async def test_a_kernel_that_cannot(caplog: pytest.LogCaptureFixture) -> None:
    world = World(CANNOT)
    with pytest.raises(Unavailable, match=r"--userns auto .* idmapped-mounts: fsconfig: Invalid"):
        await world.create("auto")
    world.userns.open("auto", POOL)
    await world.userns.is_default()
    assert "lacks idmapped-mounts: fsconfig: Invalid argument" in caplog.text
    assert not await world.userns.is_default()
    assert not world.userns.gives
    assert shown(await world.create()) == ("host", "")
    assert world.tried == 1


async def test_a_host_that_gives_no_answer() -> None:
    with pytest.raises(Unavailable, match="idmapped-mounts: not tried"):
        await World({}).create("auto")


@pytest.mark.parametrize("word", ["auto:size=0", "auto:x", "private:0:5", "keep-id"])
async def test_words_that_are_none(word: str) -> None:
    world = World()
    record = world.new(word)
    with pytest.raises(OrlopError, match="invalid user namespace mode"):
        await world.userns.give(record)
    assert record.options.userns == word


# --- spare sandboxes

ROOMY = IdRange(first=1000, size=100 * 65536)


async def test_ids_of_spare_sandboxes_are_no_containers() -> None:
    world = World(pool=ROOMY)
    aside = world.userns.set_aside()
    assert aside is not None
    assert aside.mode == FIRST
    assert (await world.create("auto")).options.userns == SECOND
    world.userns.put_back(aside)
    world.userns.reserve = lambda _record: aside
    assert (await world.create("auto")).options.userns == FIRST
    assert (await world.create("auto:size=5")).options.userns == "private:132072:5"


async def test_a_small_pool_is_for_containers() -> None:
    assert World().userns.set_aside() is None


@pytest.mark.parametrize("asked", ["auto:size=6553600", "private:1500:1"])
async def test_spare_sandboxes_give_their_ids_up(asked: str) -> None:
    world = World(pool=ROOMY)
    aside = world.userns.set_aside()
    assert aside is not None
    world.userns.release = lambda: world.userns.put_back(aside)
    await world.create(asked)
    assert world.userns._spare == []


async def test_a_bind_of_a_link_is_one_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc")
    world = World()
    points = (("/", "ext4"), ("/proc", "proc"))
    named = (SimpleNamespace(mount_point=place, fstype=fstype) for place, fstype in points)
    world.points = [cast(MountInfo, one) for one in named]
    bind = Mount(destination="/x", type="bind", source=str(tmp_path / "link"))
    with pytest.raises(InvalidArgument, match="--volume /proc:/x"):
        await world.create("auto", binds=(bind,))
    world.userns.default = "auto"
    assert shown(await world.create(binds=(bind,))) == ("host", "")
