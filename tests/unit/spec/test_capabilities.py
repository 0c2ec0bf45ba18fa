import pytest

from supervisor.errors import InvalidArgument
from supervisor.spec.capabilities import DEFAULT, LAST, NAMES, mask, select

ALL = tuple(NAMES)


def test_numbers_are_the_kernels() -> None:
    # linux/capability.h: the first, the ones everybody knows, the last.
    assert len(NAMES) == 41
    assert NAMES["CAP_CHOWN"] == 0
    assert NAMES["CAP_NET_ADMIN"] == 12
    assert NAMES["CAP_SYS_ADMIN"] == 21
    assert NAMES["CAP_SETFCAP"] == 31
    assert NAMES["CAP_CHECKPOINT_RESTORE"] == LAST == 40


def test_default_is_dockers_fourteen() -> None:
    # CapBnd of `docker run busybox grep Cap /proc/self/status`.
    assert len(DEFAULT) == 14
    assert mask(DEFAULT) == 0x00000000A80425FB
    assert select((), (), False) == DEFAULT


@pytest.mark.parametrize("word", ["SYS_ADMIN", "CAP_SYS_ADMIN", "cap_sys_admin", "Sys_Admin"])
def test_every_spelling_adds(word: str) -> None:
    assert set(select((word,), (), False)) == {*DEFAULT, "CAP_SYS_ADMIN"}


def test_drop_one() -> None:
    assert set(select((), ("net_raw",), False)) == set(DEFAULT) - {"CAP_NET_RAW"}


def test_drop_all_then_add() -> None:
    assert select(("KILL", "CHOWN"), ("ALL",), False) == ("CAP_CHOWN", "CAP_KILL")
    assert select((), ("all",), False) == ()


def test_add_all_but_one() -> None:
    assert set(select(("ALL",), ("SYS_ADMIN",), False)) == set(ALL) - {"CAP_SYS_ADMIN"}


def test_add_wins_over_drop_of_the_same() -> None:
    assert "CAP_KILL" in select(("KILL",), ("KILL",), False)


def test_add_all_wins_over_drop_all() -> None:
    assert select(("ALL",), ("ALL",), False) == ALL


def test_privileged_is_all_that_can_be_had() -> None:
    assert select((), ("ALL",), True) == ALL
    assert select((), (), True, 37) == ALL[:38]
    without = select((), (), True, LAST, ~(1 << NAMES["CAP_SYS_RESOURCE"]))
    assert set(ALL) - set(without) == {"CAP_SYS_RESOURCE"}


def test_what_cannot_be_had_is_refused_only_by_name() -> None:
    without = ~(1 << NAMES["CAP_MKNOD"])
    assert set(select((), (), False, LAST, without)) == set(DEFAULT) - {"CAP_MKNOD"}
    assert "CAP_MKNOD" not in select(("ALL",), (), False, LAST, without)
    with pytest.raises(InvalidArgument, match=r"CAP_MKNOD is not supported .* or not available"):
        select(("MKNOD",), (), False, LAST, without)
    with pytest.raises(InvalidArgument, match="CAP_BPF"):
        select(("BPF",), (), False, 37)


@pytest.mark.parametrize("side", ["add", "drop"])
def test_unknown_name_is_refused_with_near_matches(side: str) -> None:
    words = ("SYS_ADMN",)
    with pytest.raises(InvalidArgument) as refused:
        select(words if side == "add" else (), words if side == "drop" else (), False)
    assert "unknown capability: 'SYS_ADMN' (did you mean CAP_SYS_ADMIN" in refused.value.message


@pytest.mark.parametrize("word", ["", "CAP_", "ALLL", "CAP_ALL", "CHOWN ", "0"])
def test_garbage_is_refused(word: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown capability"):
        select((word,), (), False)


def test_mask() -> None:
    assert mask(()) == 0
    assert mask(("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE")) == 1 | 1 << 40
    assert mask(ALL) == (1 << 41) - 1
    with pytest.raises(InvalidArgument):
        mask(("CHOWN",))
