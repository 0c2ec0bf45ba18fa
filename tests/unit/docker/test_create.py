"""Decoding of create requests, and what the image adds."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.docker.create import (
    CreateBody,
    command,
    decode_create,
    from_json,
    merge_env,
    merge_image,
    to_json,
)
from supervisor.docker.host_config import HostConfig
from supervisor.errors import InvalidArgument
from supervisor.oci.config import ImageConfig
from tests.unit.docker.bodies import CLI_BODY, decoded

IMAGE = ImageConfig(
    entrypoint=("/entry",),
    cmd=("serve",),
    env=("PATH=/bin", "A=image"),
    cwd="/srv",
    user="app",
    labels={"a": "image", "b": "image"},
    stop_signal="SIGINT",
    exposed_ports=("80/tcp",),
)


def test_the_command_lines_body_is_all_defaults() -> None:
    body = decoded()
    assert body.cmd == ("echo", "hi")
    assert body.entrypoint is None
    assert body.host_config.memory_swappiness == -1
    assert body.host_config.masked_paths is None
    plain = HostConfig(
        network_mode="default",
        memory_swappiness=-1,
        oom_kill_disable=False,
        pids_limit=0,
        restart_policy=body.host_config.restart_policy,
    )
    assert body.host_config == plain


def test_nulls_are_unset_at_every_level() -> None:
    nulls = {
        name: None for name in CLI_BODY if name not in ("HostConfig", "NetworkingConfig", "Image")
    }
    host = dict.fromkeys(CLI_BODY["HostConfig"]) | {"LogConfig": {"Config": None}}
    body = decode_create(json.dumps({**nulls, "HostConfig": host, "Image": "x"}).encode())
    assert body == CreateBody(image="x")


def test_nulls_are_unset_in_lists_of_objects() -> None:
    mount = {"Type": "tmpfs", "Target": "/ram", "Source": None, "TmpfsOptions": {"Mode": None}}
    host = {"Mounts": [mount], "Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": None}]}
    body = decode_create(json.dumps({"Image": "x", "HostConfig": host}).encode())
    assert body.host_config.mounts[0].source == ""
    assert body.host_config.ulimits[0].hard == 0
    deep = b'{"Image": "x", "Volumes": {"/a": ' + b"[" * 40 + b"]" * 40 + b"}}"
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        decode_create(deep)


def test_names_in_any_case_as_go_takes_them() -> None:
    body = decode_create(b'{"image":"x","hostconfig":{"memory":7340032},"ENV":["a=b"]}')
    assert (body.image, body.host_config.memory, body.env) == ("x", 7340032, ("a=b",))


def test_one_word_for_a_list() -> None:
    body = decode_create(b'{"Image":"x","Cmd":"a b","Entrypoint":"c"}')
    assert command(body) == ("c", "a b")


@pytest.mark.parametrize(
    "raw,text",
    [
        (b"", "EOF"),
        (b"  ", "EOF"),
        (b"nope", "invalid JSON"),
        (b"1", "expected an object, got a number"),
        (b"null", "expected an object, got null"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "nested too deeply"),
        (b'{"Tty":"yes"}', "invalid value for Tty: expected bool, got str"),
        (b'{"Cmd":[1]}', "invalid value for Cmd[0]"),
        (b'{"Env":"A=b"}', "invalid value for Env"),
        (b'{"HostConfig":[]}', "invalid value for HostConfig"),
        (b'{"HostConfig":{"Memory":"5m"}}', "invalid value for HostConfig.Memory"),
        (b'{"HostConfig":{"Memory":1.5}}', "invalid value for HostConfig.Memory"),
        (b'{"HostConfig":{"Memory":9223372036854775808}}', "HostConfig.Memory"),
        (b'{"HostConfig":{"Ulimits":[{"Name":1}]}}', "HostConfig.Ulimits[0].Name"),
        (b'{"HostConfig":{"ConsoleSize":[1]}}', "HostConfig.ConsoleSize"),
        (b'{"HostConfig":{"Memroy":1}}', "HostConfig.Memroy: orlop has no such option"),
    ],
)
def test_malformed_bodies_name_the_field(raw: bytes, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_create(raw)
    assert text in caught.value.message


@pytest.mark.parametrize("unset", [None, 0, "", False, [], {}, -1, "default", [0, 0]])
def test_unknown_options_that_ask_for_nothing_pass(unset: object) -> None:
    decode_create(json.dumps({"HostConfig": {"SomethingNew": unset}}).encode())


def test_unknown_fields_beside_the_host_config_are_ignored_as_in_docker() -> None:
    assert decode_create(b'{"Image":"x","Id":"abc"}') == CreateBody(image="x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
known = st.sampled_from(sorted(CLI_BODY))
known_host = st.sampled_from(sorted(CLI_BODY["HostConfig"]))


@given(
    st.dictionaries(known | st.text(), json_values),
    st.dictionaries(known_host, json_values),
)
def test_any_json_is_decoded_or_refused(fields: dict[str, Any], host: dict[str, Any]) -> None:
    for body in (fields, {**fields, "HostConfig": host}):
        with contextlib.suppress(InvalidArgument):
            decode_create(json.dumps(body).encode())


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        decode_create(raw)


def test_it_is_persisted_as_json() -> None:
    body = decoded(
        {"Binds": ["/a:/b"], "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]},
        Healthcheck={"Test": ["NONE"]},
        StopTimeout=0,
    )
    stored = json.loads(json.dumps(to_json(body)))
    assert from_json(stored) == body


# --- the image ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entrypoint,cmd,expected",
    [
        (None, None, ("/entry", "serve")),
        (None, ["x"], ("/entry", "x")),
        (None, [], ("/entry", "serve")),
        (["/mine"], None, ("/mine",)),
        (["/mine"], ["x"], ("/mine", "x")),
        ([], ["x"], ("x",)),
        ([], None, ("serve",)),
        ([""], ["x"], ("x",)),
    ],
)
def test_what_runs(
    entrypoint: list[str] | None, cmd: list[str] | None, expected: tuple[str, ...]
) -> None:
    assert command(merge_image(decoded(Entrypoint=entrypoint, Cmd=cmd), IMAGE)) == expected


@pytest.mark.parametrize(
    "image,entrypoint,cmd",
    [
        (None, None, None),
        (None, [""], None),
        (None, [], []),
        (None, None, [""]),
        (IMAGE, [""], None),
        (ImageConfig(), None, None),
    ],
)
def test_nothing_to_run(
    image: ImageConfig | None, entrypoint: list[str] | None, cmd: list[str] | None
) -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        merge_image(decoded(Entrypoint=entrypoint, Cmd=cmd), image)


def test_what_the_image_adds() -> None:
    merged = merge_image(decoded(Env=["A=mine", "B=1"], Labels={"a": "mine"}), IMAGE)
    assert merged.env == ("A=mine", "B=1", "PATH=/bin")
    assert merged.labels == {"a": "mine", "b": "image"}
    assert (merged.working_dir, merged.user, merged.stop_signal) == ("/srv", "app", "SIGINT")
    assert merged.exposed_ports == {"80/tcp": {}}
    mine = merge_image(decoded(WorkingDir="/w", User="1", StopSignal="9"), IMAGE)
    assert (mine.working_dir, mine.user, mine.stop_signal) == ("/w", "1", "9")


def test_a_name_alone_takes_the_images_variable_out_of_the_way() -> None:
    assert merge_env(["A=1", "B=2"], ["A"]) == ("A", "B=2")
