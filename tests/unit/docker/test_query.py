"""Filters, times, numbers and routes as they come in a request's target."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.docker import routes
from supervisor.docker.filters import decode_filters
from supervisor.docker.query import attach_options, boolean, integer, log_options, moment
from supervisor.docker.routes import NEWEST, Match, route
from supervisor.docker.streams import AttachOptions, LogOptions
from supervisor.docker.times import ZERO, parse_timestamp, rfc3339_fixed, rfc3339_nano
from supervisor.errors import InvalidArgument, NotFound, OrlopError

# --- filters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", {}),
        ("{}", {}),
        ('{"name":["x","y"]}', {"name": ("x", "y")}),
        ('{"name":{"x":true}}', {"name": ("x",)}),
        ('{"dangling":{"false":true}}', {"dangling": ("false",)}),
        ('{"name":[],"label":null,"id":{}}', {}),
        ('{"label":{"a=b":true,"c":true}}', {"label": ("a=b", "c")}),
    ],
)
def test_both_shapes_of_filters(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert decode_filters(text) == expected


@pytest.mark.parametrize("text", ["x", "[]", '{"a":"b"}', '{"a":[1]}', '{"a":{"b":1}}', "[" * 9999])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filter"):
        decode_filters(text)


# --- numbers and times ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "2", "x"])
def test_true(text: str) -> None:
    assert boolean({"a": text}, "a")


@pytest.mark.parametrize("text", ["", "0", "false", "False", "no", "none", " "])
def test_false(text: str) -> None:
    assert not boolean({"a": text}, "a")
    assert not boolean({}, "a")


def test_integers() -> None:
    assert integer({}, "t") is None
    assert integer({"t": "-1"}, "t") == -1
    for text in ("+1", "1_0", " 1", "0x1", "\uff11", "--1", "-"):
        with pytest.raises(InvalidArgument, match="not a number"):
            integer({"t": text}, "t")


@pytest.mark.parametrize(
    "text,ns",
    [
        ("1795231748", 1795231748 * 10**9),
        ("1795231748.5", 1795231748 * 10**9 + 500_000_000),
        ("1795231748.093305261", 1795231748093305261),
        ("1795231748.0933052619", 1795231748093305261),
        ("-1", -(10**9)),
        ("1795231748.", 1795231748 * 10**9),
        ("2026-11-21T03:29:08Z", 1795231748 * 10**9),
        ("2026-11-21T04:29:08.5+01:00", 1795231748 * 10**9 + 500_000_000),
        ("2026-11-21T03:29:08", 1795231748 * 10**9),
    ],
)
def test_timestamps(text: str, ns: int) -> None:
    assert parse_timestamp("since", text) == ns


@pytest.mark.parametrize("text", ["x", "1e3", "1.x", ".5", "\uff11", "9" * 12, "10m", "nan"])
def test_timestamps_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="since"):
        parse_timestamp("since", text)


@given(st.integers(min_value=1, max_value=4_000_000_000 * 10**9))
def test_times_come_back(ns: int) -> None:
    for text in (rfc3339_nano(ns), rfc3339_fixed(ns)):
        assert parse_timestamp("t", text) // 1000 == ns // 1000


def test_time_texts() -> None:
    assert rfc3339_nano(0) == ZERO
    assert rfc3339_nano(10**9) == "1970-01-01T00:00:01Z"
    assert rfc3339_nano(1795231743_871021300) == "2026-11-21T03:29:03.8710213Z"
    assert rfc3339_fixed(1795231743_871021300) == "2026-11-21T03:29:03.871021300Z"


def test_moments() -> None:
    assert moment({}, "since") is None
    assert moment({"since": "0"}, "since") == 0  # all that is remembered
    assert moment({"until": "0"}, "until") is None
    assert moment({"since": "1"}, "since") == 10**9


def test_log_options() -> None:
    asked = log_options({"stdout": "1", "follow": "true", "tail": "3", "since": "1", "until": "2"})
    assert asked == LogOptions(
        stdout=True, stderr=False, follow=True, since_ns=10**9, until_ns=2 * 10**9, tail=3
    )
    for tail in ("", "all", "-1", "x"):
        assert log_options({"stderr": "1", "tail": tail}).tail is None
    with pytest.raises(InvalidArgument, match="at least one stream"):
        log_options({"stdout": "0"})


def test_attach_options() -> None:
    query = {"stream": "1", "stdin": "1", "stdout": "1", "detachKeys": "ctrl-a"}
    assert attach_options(query, framed=False, preface=b"x") == AttachOptions(
        stream=True, stdin=True, stdout=True, detach_keys="ctrl-a", framed=False, preface=b"x"
    )


# --- routes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method,path,expected",
    [
        ("GET", "/_ping", Match("SystemPing", NEWEST, "")),
        ("GET", "/v1.40/containers/json", Match("ContainerList", (1, 40), "")),
        ("GET", "/containers/json/json", Match("ContainerInspect", NEWEST, "json")),
        ("DELETE", "/containers/a%2Fb", Match("ContainerDelete", NEWEST, "a/b")),
        ("POST", "/exec/e/start", Match("ExecStart", NEWEST, "e")),
        ("GET", "/images/json", Match("ImageList", NEWEST, "")),
        ("GET", "/images/a/b/c:1/json", Match("ImageInspect", NEWEST, "a/b/c:1")),
        ("GET", "/images/a%2Fb/json", Match("ImageInspect", NEWEST, "a/b")),
        ("GET", "/images/json/json", Match("ImageInspect", NEWEST, "json")),
        ("DELETE", "/images/a/json", Match("ImageDelete", NEWEST, "a/json")),
        ("POST", "/orlop/images/scratch", Match("OrlopImageScratch", NEWEST, "")),
        ("GET", "/v1.51/orlop/doctor", Match("OrlopDoctor", NEWEST, "")),
        ("POST", "/containers/v1.50/start", Match("ContainerStart", NEWEST, "v1.50")),
    ],
)
def test_routes(method: str, path: str, expected: Match) -> None:
    for _ in range(2):  # what was found is kept
        assert route(method, path) == expected


@pytest.mark.parametrize("method", ["TRACE", "PATCH", "get"])
@pytest.mark.parametrize("path", ["/images/x/json", "/build/prune", "/v1.51/info", "/swarm"])
def test_methods_that_docker_has_not_are_404(method: str, path: str) -> None:
    with pytest.raises(NotFound, match="page not found"):
        route(method, path)


@given(
    st.sampled_from(["GET", "POST", "HEAD", "DELETE", "PUT"]),
    st.lists(
        st.sampled_from(["containers", "images", "*", "v1.5", "", "json", "..", "%00"]) | st.text(),
        max_size=6,
    ),
)
def test_any_path_is_routed_or_refused(method: str, parts: list[str]) -> None:
    status = 200
    try:
        route(method, "/" + "/".join(parts))
    except OrlopError as error:
        status = error.status
    assert status in (200, 400, 404, 501, 503)


def test_long_paths_are_not_kept() -> None:
    kept = routes._find_and_keep.cache_info().currsize
    for number in range(3):
        name = f"{number}" * 200
        assert route("GET", f"/images/{name}/json") == Match("ImageInspect", NEWEST, name)
    assert routes._find_and_keep.cache_info().currsize == kept
