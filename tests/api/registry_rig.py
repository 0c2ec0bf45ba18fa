"""A daemon that is quick to try again, and the words for what it does with registries."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tests.support.daemon import Daemon, UnixConnection
from tests.support.fault_proxy import FaultProxy
from tests.support.oci_layout import TestImage, image, noise
from tests.support.pace import IN_GUEST, limit
from tests.support.registry import User

BUSYBOX = "/bin/busybox"
SILENCE = 3.0 if IN_GUEST else 1.0
"""Seconds after which the daemon takes a server for dead."""


def settings(folder: Path, **more: Any) -> list[str]:
    """Arguments of a daemon that tries again at once, up to three times."""
    table: dict[str, Any] = {
        "backoff": 0.01,
        "timeout": SILENCE,
        "retries": 3,
        "certs": [str(folder)],
        **more,
    }
    lines = [f"{key} = {_toml(value)}" for key, value in table.items()]
    file = folder / "orlop.toml"
    file.write_text("[registries]\n" + "\n".join(lines) + "\n")
    return ["--config", str(file)]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_toml(v)}' for key, v in value.items()) + " }"
    return json.dumps(value)


def some_image(seed: int, size: int = 300_000, **fields: Any) -> TestImage:
    """An image of two layers that no other seed has, a program among them."""
    busybox = Path(BUSYBOX).read_bytes()
    config = {"Cmd": ["/bin/busybox", "cat", "/etc/seed"], **fields.pop("config", {})}
    return image(
        {"bin/busybox": busybox, "etc/seed": str(seed).encode()},
        {"data": noise(size, seed)},
        config=config,
        **fields,
    )


@dataclass
class Told:
    """An answer in lines: its status and messages."""

    status: int
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def error(self) -> str:
        """What went wrong, "" if nothing did."""
        last = self.messages[-1] if self.messages else {}
        return str(last.get("error") or (self.status >= 400 and last.get("message")) or "")

    def steps(self, name: str = "") -> list[str]:
        """The statuses told of one layer, or of the whole, each once in a row."""
        found: list[str] = []
        for message in self.messages:
            text = str(message.get("status", ""))
            if text and message.get("id", "") == name and found[-1:] != [text]:
                found.append(text)
        return found


def ask(
    daemon: Daemon,
    method: str,
    path: str,
    *,
    user: User | None = None,
    body: Any = None,
    **query: str,
) -> Told:
    """One request with the user's credentials; the lines of its answer."""
    headers = {"Connection": "close", "Content-Type": "application/json"}
    if user is not None:
        auth = json.dumps({"username": user.name, "password": user.password})
        headers["X-Registry-Auth"] = base64.urlsafe_b64encode(auth.encode()).decode()
    target = f"{path}?{urlencode(query)}" if query else path
    with closing(UnixConnection(daemon.socket, limit(60))) as connection:
        data = None if body is None else json.dumps(body)
        connection.request(method, target, body=data, headers=headers)
        response = connection.getresponse()
        lines = response.read().splitlines()
    return Told(response.status, [json.loads(line) for line in lines if line.strip()])


def pull(daemon: Daemon, ref: str, user: User | None = None, **query: str) -> Told:
    """Pull `name:tag` or `name@digest`."""
    name, tag = _split(ref)
    return ask(daemon, "POST", "/images/create", user=user, fromImage=name, tag=tag, **query)


def push(daemon: Daemon, ref: str, user: User | None = None) -> Told:
    """Push `name:tag`."""
    name, tag = _split(ref)
    return ask(daemon, "POST", f"/images/{quote(name)}/push", user=user, tag=tag)


def pulled(daemon: Daemon, ref: str, user: User | None = None, **query: str) -> Told:
    """A pull that must succeed."""
    told = pull(daemon, ref, user, **query)
    assert told.status == 200, told
    assert not told.error, told.error
    return told


def inspect(daemon: Daemon, ref: str) -> dict[str, Any] | None:
    """The image, None if there is none of that name."""
    status, found = daemon.request("GET", f"/images/{quote(ref)}/json")
    assert status in (200, 404), found
    return dict(found) if status == 200 else None


def image_id(daemon: Daemon, ref: str) -> str:
    """The id of an image that must be there."""
    found = inspect(daemon, ref)
    assert found is not None, ref
    return str(found["Id"])


def stored(daemon: Daemon) -> set[str]:
    """Everything in the data root that is of images, or of half an image."""
    root = daemon.data_root
    patterns = ("blobs/*/*", "layers/*", "images/*", "tmp/*", "trash/*")
    return {str(path.relative_to(root)) for pattern in patterns for path in root.glob(pattern)}


@contextmanager
def pulling(daemon: Daemon, ref: str) -> Iterator[UnixConnection]:
    """A pull that goes on during the block, and whose client is gone after it."""
    name, tag = _split(ref)
    connection = UnixConnection(daemon.socket, limit(60))
    with closing(connection):
        query = urlencode({"fromImage": name, "tag": tag})
        connection.request("POST", f"/images/create?{query}")
        yield connection


def together(*calls: Any) -> list[Any]:
    """What the calls return that were made at the same time."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        results[number] = calls[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit(120))
    return results


def secrets_in(proxy: FaultProxy) -> list[str]:
    """The credentials that a server has been shown."""
    return [seen.authorization for seen in proxy.requests if seen.authorization]


def _split(ref: str) -> tuple[str, str]:
    if "@" in ref:
        name, _, digest = ref.partition("@")
        return name, digest
    name, _, tag = ref.rpartition(":")
    return name, tag
