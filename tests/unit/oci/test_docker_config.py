"""docker's client configuration."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.docker_config import HUB_SERVER, DockerConfig, server_key


def config(**members: Any) -> DockerConfig:
    return DockerConfig(json.dumps(members))


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("name", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_io_by_any_name(name: str) -> None:
    found = config(auths={name: {"auth": pair("me:pw:with:colons")}})
    assert found.auth("docker.io") == {
        "username": "me",
        "password": "pw:with:colons",
        "serveraddress": HUB_SERVER,
    }
    assert found.auth("other:5000") == {}


def test_entries() -> None:
    found = config(
        auths={
            "https://r.example/v1/": {"auth": pair("u:p")},
            "r.example:5000": {"username": "a", "password": "b"},
            "t.example": {"auth": pair("<token>:"), "identitytoken": "idt"},
            "empty.example": {},
        }
    )
    assert found.auth("r.example")["password"] == "p"
    assert found.auth("r.example:5000")["username"] == "a"
    assert found.auth("t.example")["identitytoken"] == "idt"
    assert "password" not in found.auth("t.example")
    assert found.auth("empty.example") == {}


def test_helpers_are_named() -> None:
    found = config(
        credsStore="desktop",
        credHelpers={"gcr.io": "gcloud"},
        auths={"r.example": {}, "https://index.docker.io/v1/": {}},
    )
    assert found.helper("gcr.io") == "gcloud"
    assert found.helper("any.example") == "desktop"
    assert found.left_to("gcr.io") == "gcloud"
    assert found.left_to("docker.io") == "desktop"
    assert found.left_to("any.example") == ""
    assert DockerConfig().helper("any.example") == ""


@pytest.mark.parametrize("auth", ["!!!", pair("no colon"), pair(":no user"), "ÿ"])
def test_damaged_credentials(auth: str) -> None:
    with pytest.raises(InvalidArgument, match=r"credentials for r\.example are damaged"):
        config(auths={"r.example": {"auth": auth}}).auth("r.example")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"auths": []}', '{"auths": "x"}', "1"])
def test_no_configuration(text: str) -> None:
    if text == '{"auths": []}':
        assert DockerConfig(text).auth("r.example") == {}  # Go's null and empty
        return
    with pytest.raises(InvalidArgument, match="config"):
        DockerConfig(text)


def test_what_else_is_there_stays() -> None:
    before = {
        "auths": {"http://r.example/v1/": {"auth": "x"}, "o.example": {"auth": pair("o:o")}},
        "HttpHeaders": {"X": "ü"},
        "psFormat": "{{.ID}}",
        "unknown": [1, {"two": None}],
    }
    found = DockerConfig(json.dumps(before))
    found.keep("r.example", username="u", password="p")
    after = json.loads(found.text())
    assert after == {
        **before,
        "auths": {"o.example": {"auth": pair("o:o")}, "r.example": {"auth": pair("u:p")}},
    }
    assert found.drop("https://r.example")
    assert not found.drop("r.example")
    assert json.loads(found.text())["auths"] == {"o.example": {"auth": pair("o:o")}}


def test_an_identity_token_takes_the_place_of_the_password() -> None:
    found = DockerConfig()
    found.keep("docker.io", username="u", password="p", identity_token="t")
    assert json.loads(found.text()) == {
        "auths": {HUB_SERVER: {"auth": pair("u:"), "identitytoken": "t"}}
    }


@given(
    st.text(min_size=1, max_size=20).filter(lambda user: ":" not in user),
    st.text(min_size=1, max_size=20).filter(lambda word: not word.endswith("\0")),
)
def test_what_is_kept_is_found(user: str, password: str) -> None:
    found = DockerConfig()
    found.keep("r.example:5000", username=user, password=password)
    again = DockerConfig(found.text()).auth("r.example:5000")
    assert (again["username"], again["password"]) == (user, password)


@pytest.mark.parametrize(
    "server, key",
    [("", HUB_SERVER), ("docker.io", HUB_SERVER), ("https://r:5000/v2/", "r:5000"), ("r", "r")],
)
def test_keys(server: str, key: str) -> None:
    assert server_key(server) == key
