"""`changes` of commit and import, filters of images, history."""

from __future__ import annotations

import time
from typing import Any

import pytest
from msgspec.structs import replace

from supervisor.docker.commit import CommitOptions, commit_options, config_of, repository_tag
from supervisor.docker.create import CreateBody
from supervisor.docker.image_changes import apply_changes
from supervisor.docker.image_filters import created_ns, list_filter, prune_filter, refers
from supervisor.docker.image_history import history_json
from supervisor.errors import InvalidArgument
from supervisor.oci.config import HistoryEntry, ImageConfig
from supervisor.store.image import Image
from tests.support.pace import limit

BASE = ImageConfig(
    entrypoint=("e",), cmd=("c",), env=("PATH=/bin", "A=1"), cwd="/srv", labels={"l": "1"}
)


@pytest.mark.parametrize(
    "change, expected",
    [
        ('CMD ["a", "b c"]', {"cmd": ("a", "b c")}),
        ("CMD a b  c", {"cmd": ("/bin/sh", "-c", "a b  c")}),
        ('cmd ["a"]', {"cmd": ("a",)}),
        ("CMD [a, b]", {"cmd": ("/bin/sh", "-c", "[a, b]")}),
        ("CMD []", {"cmd": ()}),
        ('ENTRYPOINT ["x"]', {"entrypoint": ("x",), "cmd": ()}),
        ('ENV A=2 B=\'x y\' C="q\\"r"', {"env": ("PATH=/bin", "A=2", "B=x y", 'C=q"r')}),
        ("ENV A rest of line", {"env": ("PATH=/bin", "A=rest of line")}),
        ("ENV Q=", {"env": ("PATH=/bin", "A=1", "Q=")}),
        (
            "EXPOSE 80 53/udp 8000-8001",
            {"exposed_ports": ("53/udp", "80/tcp", "8000/tcp", "8001/tcp")},
        ),
        ('LABEL l=2 "a b"="c d"', {"labels": {"l": "2", "a b": "c d"}}),
        ("HEALTHCHECK NONE", {"healthcheck": {"Test": ("NONE",)}}),
        ("healthcheck  none ", {"healthcheck": {"Test": ("NONE",)}}),
        (
            'HEALTHCHECK CMD ["test", "-e", "/a b"]',
            {"healthcheck": {"Test": ("CMD", "test", "-e", "/a b")}},
        ),
        (
            "HEALTHCHECK CMD  test -e  /x || exit 1",
            {"healthcheck": {"Test": ("CMD-SHELL", "test -e  /x || exit 1")}},
        ),
        (
            "HEALTHCHECK CMD [test, --retries=1]",
            {"healthcheck": {"Test": ("CMD-SHELL", "[test, --retries=1]")}},
        ),
        (
            "HEALTHCHECK --interval= --timeout=0s --retries=0 -- CMD true",
            {"healthcheck": {"Test": ("CMD-SHELL", "true")}},
        ),
        (
            "HEALTHCHECK --retries=2 CMD a\nHEALTHCHECK CMD b",
            {"healthcheck": {"Test": ("CMD-SHELL", "b")}},
        ),
        ("USER 1000:1000", {"user": "1000:1000"}),
        ("VOLUME /data /more", {"volumes": ("/data", "/more")}),
        ('VOLUME ["/a b"]', {"volumes": ("/a b",)}),
        ("WORKDIR /x/../y", {"cwd": "/y"}),
        ("WORKDIR sub/dir", {"cwd": "/srv/sub/dir"}),
        ("WORKDIR ../../../..", {"cwd": "/"}),
        ("STOPSIGNAL SIGQUIT", {"stop_signal": "SIGQUIT"}),
        ("ONBUILD RUN echo", {"on_build": ("RUN echo",)}),
        ("# a comment", {}),
        ("\n\n", {}),
        ("USER a\nUSER b", {"user": "b"}),
    ],
)
def test_changes(change: str, expected: dict[str, Any]) -> None:
    assert apply_changes(BASE, [change]) == replace(BASE, **expected)


def test_the_times_of_a_health_check() -> None:
    flags = (
        "--interval=1m30s   --timeout=1.5s --start-period=10s --start-interval='500ms' --retries=5"
    )
    assert apply_changes(BASE, [f"HEALTHCHECK {flags} cmd true"]).healthcheck == {
        "Test": ("CMD-SHELL", "true"),
        "Interval": 90_000_000_000,
        "Timeout": 1_500_000_000,
        "StartPeriod": 10_000_000_000,
        "StartInterval": 500_000_000,
        "Retries": 5,
    }


def test_a_shell_of_the_images_own() -> None:
    bash = ("/bin/bash", "-ec")
    base = ImageConfig(shell=bash)
    assert apply_changes(base, ["CMD a"]).cmd == (*bash, "a")


def test_a_cmd_before_an_entrypoint_stays() -> None:
    changed = apply_changes(BASE, ['CMD ["mine"]', 'ENTRYPOINT ["x"]'])
    assert (changed.entrypoint, changed.cmd) == (("x",), ("mine",))


@pytest.mark.parametrize(
    "change, text",
    [
        ("RUN make", "RUN is not a valid change command"),
        ("COPY a b", "COPY is not a valid change command"),
        ("bogus", "bogus is not a valid change command"),
        ("CMD", "requires at least one argument"),
        ("USER a b", "exactly one argument"),
        ("ENV A", "must have two arguments"),
        ("ENV A=1 B", "can't find ="),
        ("ENV =1", "names can not be blank"),
        ("EXPOSE http", "invalid containerPort"),
        ("EXPOSE 0", "invalid containerPort"),
        ("EXPOSE 70000", "invalid containerPort"),
        ("EXPOSE 9-8", "invalid containerPort"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK --retries=3", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE true", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK RUN true", r'unknown type "RUN" in HEALTHCHECK \(try CMD\)'),
        ("HEALTHCHECK CMD", "missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK CMD []", "missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --every=1s CMD true", "unknown flag: --every: HEALTHCHECK has --interval"),
        ("HEALTHCHECK --retries=1 --retries=2 CMD true", "duplicate flag specified: --retries"),
        ("HEALTHCHECK --retries 3 CMD true", 'unknown type "3"'),
        ("HEALTHCHECK --retries CMD true", "missing a value on flag: --retries"),
        ("HEALTHCHECK --retries=many CMD true", "--retries: 'many' is no number"),
        ("HEALTHCHECK --retries=-1 CMD true", r"--retries cannot be negative \(-1\)"),
        ("HEALTHCHECK --retries=2147483648 CMD true", "is more than 2147483647"),
        ("HEALTHCHECK --timeout=5 CMD true", "--timeout: invalid duration: '5'"),
        ("HEALTHCHECK --timeout=-5s CMD true", 'Interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --interval=10us CMD true", 'Interval "interval" cannot be less than 1ms'),
        ("STOPSIGNAL SIGNOPE", "invalid signal"),
        ("ONBUILD ONBUILD RUN x", "ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed"),
        ('VOLUME [""]', "empty string"),
        ("LABEL a='open", "looking for matching '"),
        ("LABEL " + "a" * 70_000, "longer than"),
    ],
)
def test_changes_that_cannot_be(change: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        apply_changes(BASE, [change])


def test_changes_are_bounded() -> None:
    with pytest.raises(InvalidArgument, match="at most 256"):
        apply_changes(BASE, ["USER a"] * 257)


# --- commit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query, tag",
    [
        ({}, None),
        ({"repo": "a"}, "a"),
        ({"repo": "a", "tag": "1"}, "a:1"),
        ({"repo": "a:1"}, "a:1"),
        ({"repo": "a:1", "tag": "2"}, "a:2"),
        ({"repo": "h:5000/a", "tag": "2"}, "h:5000/a:2"),
        ({"repo": "h:5000/a"}, "h:5000/a"),
    ],
)
def test_repository_and_tag(query: dict[str, str], tag: str | None) -> None:
    assert repository_tag(query) == tag


def test_a_tag_alone_names_nothing() -> None:
    with pytest.raises(InvalidArgument, match="repo"):
        repository_tag({"tag": "1"})


def test_the_config_of_a_commit_is_the_containers() -> None:
    container = CreateBody(
        entrypoint=("e",), cmd=("c",), env=("A=1",), user="u", working_dir="/w", volumes={"/v": {}}
    )
    assert config_of(container, CommitOptions()) == ImageConfig(
        entrypoint=("e",), cmd=("c",), env=("A=1",), user="u", cwd="/w", volumes=("/v",)
    )
    asked = CreateBody(cmd=("mine",), env=("A=2", "B=3"), labels={"x": "y"})
    changed = config_of(container, CommitOptions(config=asked))
    assert changed.cmd == ("mine",)
    assert changed.env == ("A=2", "B=3")
    assert changed.labels == {"x": "y"}


def test_pausing_is_the_default() -> None:
    assert commit_options({}, (), None, b"").pause
    assert not commit_options({"pause": "0"}, (), None, b"null").pause
    with pytest.raises(InvalidArgument):
        commit_options({}, (), None, b"[]")
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        commit_options({}, (), None, b"{}\x0b")


# --- filters ------------------------------------------------------------------------------

IMAGE = Image(
    id="sha256:" + "d" * 64,
    tags=("alpine:3", "host:5000/team/tool:v1"),
    repo_digests=("alpine@sha256:" + "e" * 64,),
    created="2024-01-01T00:00:00.5Z",
    config=ImageConfig(labels={"a": "b"}),
)
NOW = 1_800_000_000 * 10**9


def shown(filters: dict[str, tuple[str, ...]]) -> object:
    times = {"old": "2023-01-01T00:00:00Z", "new": "2025-01-01T00:00:00Z", "same": IMAGE.created}
    return list_filter(filters, times.__getitem__, NOW).shown(IMAGE)


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({}, True),
        ({"dangling": ("false",)}, True),
        ({"dangling": ("true",)}, False),
        ({"label": ("a",)}, True),
        ({"label": ("a=b",)}, True),
        ({"label": ("a=c",)}, False),
        ({"label!": ("a=c",)}, True),
        ({"label!": ("a",)}, False),
        ({"before": ("new",)}, True),
        ({"before": ("same",)}, False),
        ({"before": ("new", "old")}, False),
        ({"since": ("old",)}, True),
        ({"since": ("same",)}, False),
        ({"until": ("1h",)}, True),
        ({"until": ("2024-01-01T00:00:00.4Z",)}, False),
        ({"until": ("1704067201",)}, True),
    ],
)
def test_image_filters(filters: dict[str, tuple[str, ...]], expected: bool) -> None:
    assert bool(shown(filters)) is expected


@pytest.mark.parametrize(
    "pattern, tags, digests",
    [
        ("alpine", 1, 1),
        ("alp*:3", 1, 0),
        ("*", 1, 1),
        ("*/*/*", 1, 0),
        ("host:5000/team/*", 1, 0),
        ("host:5000/*", 0, 0),
        ("alpin[a-f]", 1, 1),
        ("alpine:?", 1, 0),
        ("alpine@sha256:*", 0, 1),
        ("debian", 0, 0),
    ],
)
def test_references_show_the_names_that_fit(pattern: str, tags: int, digests: int) -> None:
    names = list_filter({"reference": (pattern,)}, str, NOW).shown(IMAGE)
    assert (len(names.tags), len(names.digests)) == (tags, digests) if names else not tags + digests


def test_filters_that_are_none() -> None:
    for name, value in (("colour", "x"), ("dangling", "maybe"), ("until", "soon")):
        with pytest.raises(InvalidArgument):
            shown({name: (value,)})
    with pytest.raises(InvalidArgument, match="more than one until"):
        shown({"until": ("1h", "2h")})
    with pytest.raises(InvalidArgument):
        prune_filter({"reference": ("x",)}, NOW)
    with pytest.raises(InvalidArgument, match="reference"):
        refers("a:1", "[b-a]")


def test_pruning_takes_what_dangles_unless_told() -> None:
    dangling = replace(IMAGE, tags=())
    assert prune_filter({}, NOW).shown(IMAGE) is None
    assert prune_filter({}, NOW).shown(dangling) is not None
    assert prune_filter({"dangling": ("false",)}, NOW).shown(IMAGE) is not None
    assert prune_filter({"until": ("2023-01-01",)}, NOW).shown(dangling) is None


def test_created_in_nanoseconds() -> None:
    assert created_ns("2024-01-01T00:00:00.123456789Z") == 1704067200123456789
    assert created_ns("0001-01-01T00:00:00Z") == created_ns("never") == 0


# --- history ------------------------------------------------------------------------------


def test_history_rows() -> None:
    entries = [
        HistoryEntry(created="2024-01-01T00:00:00Z", created_by="base"),
        HistoryEntry(created_by="CMD", empty_layer=True),
        HistoryEntry(created_by="top", comment="c"),
    ]
    parent = replace(IMAGE, id="sha256:" + "1" * 64, tags=())
    rows = history_json(entries, [10, 20], [IMAGE, parent])
    assert [(row["CreatedBy"], row["Size"]) for row in rows] == [
        ("top", 20),
        ("CMD", 0),
        ("base", 10),
    ]
    assert [row["Id"] for row in rows] == [IMAGE.id, parent.id, "<missing>"]
    assert [row["Tags"] for row in rows] == [list(IMAGE.tags), None, None]
    assert rows[-1]["Created"] == 1704067200


def test_a_history_longer_than_its_layers() -> None:
    rows = history_json([HistoryEntry()] * 3, [10], [IMAGE])
    assert [row["Size"] for row in rows] == [0, 0, 10]
    assert history_json([], [10], [IMAGE]) == []


def test_a_pattern_with_many_stars_takes_no_time() -> None:
    name = "a" * 200
    begun = time.perf_counter()
    assert not refers(f"{name}:1", "a*" * 100 + "b")
    assert refers(f"{name}:1", "a*" * 100)
    assert time.perf_counter() - begun < limit(10)
