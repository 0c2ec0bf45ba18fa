"""The daemon's settings of user namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.daemon.config import Config, merge, read_file
from supervisor.daemon.main import parser
from supervisor.daemon.userns import pool_of
from supervisor.errors import InvalidArgument
from supervisor.spec.user_ranges import FIXED_POOL, IdRange


def test_flags_and_file_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text('userns = "auto"\nuserns-pool = "5:100000"\n')
    from_file = merge(Config(), read_file(file))
    flags = vars(parser().parse_args(["--userns", "auto", "--userns-pool", "5:100000"]))
    flags.pop("config")
    from_flags = merge(Config(), {"userns": flags["userns"], "userns_pool": flags["userns_pool"]})
    assert from_file == from_flags
    assert (from_file.userns, pool_of(from_file)) == ("auto", IdRange(first=5, size=100000))


def test_each_container_has_ids_of_its_own_by_default() -> None:
    assert Config().userns == "auto"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"userns": "private:1:2"}, "userns 'private:1:2': give one of host, auto"),
        ({"userns": ""}, "userns '': give one of host, auto"),
        ({"userns_pool": "5"}, "userns_pool '5': give BASE:SIZE"),
        ({"userns_pool": "0:5"}, "userns_pool '0:5': give BASE:SIZE"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        merge(Config(), settings)


def test_the_pool_is_that_of_the_files_of_subordinate_ids(tmp_path: Path) -> None:
    assert pool_of(Config(), tmp_path) == FIXED_POOL
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("me:100000:65536\norlop:200000:70000\n")
    assert pool_of(Config(), tmp_path) == IdRange(first=200000, size=70000)
    assert pool_of(Config(userns_pool="1:2"), tmp_path) == IdRange(first=1, size=2)
    (tmp_path / "subgid").unlink()
    assert pool_of(Config(), tmp_path) == FIXED_POOL
