"""One container in the place of another: the old one is there until the new one runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from supervisor.cli.apply.seen import Container
from supervisor.cli.client import Client, container_path
from supervisor.cli.failures import Failure

Json = dict[str, Any]

_SHORT = 12


class Replacement:
    """`old` gives its name and its anonymous volumes to a new container made from `body`.

    Where the new one cannot be created or started, the old one is what it was before.
    """

    def __init__(
        self, client: Client, old: Container, name: str, body: Json, warn: Callable[[str], None]
    ) -> None:
        self.client = client
        self.old = old
        self.name = name
        self.body = with_volumes(body, old)
        self.warn = warn

    def run(self) -> None:
        """Rename away, create, stop, start, remove; DaemonError, Unreachable."""
        self._rename(f"{self.name}_replaced_{self.old.id[:_SHORT]}")
        new = None
        try:
            new = self._create()
            if self.old.runs or self.old.status == "paused":
                self._post(self.old.id, "stop")
            self._post(new, "start")
        except BaseException:
            self._undo(new)
            raise
        self.client.delete(container_path(self.old.id), {"force": True})

    def _create(self) -> str:
        answer = self.client.post("/containers/create", {"name": self.name}, self.body)
        for warning in answer.get("Warnings") or ():
            self.warn(f"container {self.name}: {warning}")
        return str(answer["Id"])

    def _undo(self, new: str | None) -> None:
        # What went wrong is told; that undoing it goes wrong as well shows at the next apply.
        with suppress(Failure):
            if new is not None:
                self.client.delete(container_path(new), {"force": True})
            self._rename(self.old.name)
            if self.old.runs and new is not None:
                self._post(self.old.id, "start")

    def _rename(self, name: str) -> None:
        self.client.post(container_path(self.old.id, "rename"), {"name": name})

    def _post(self, id: str, action: str) -> None:
        self.client.post(container_path(id, action))


def with_volumes(body: Json, old: Container) -> Json:
    """`body` with the anonymous volumes of `old`, but where it mounts something itself."""
    host = body["HostConfig"]
    taken = {bind.split(":")[1] for bind in host.get("Binds", ())}
    taken |= {mount["Target"] for mount in host.get("Mounts", ())} | set(host.get("Tmpfs", ()))
    kept = [
        {"Type": "volume", "Source": name, "Target": target}
        for target, name in sorted(old.anonymous.items())
        if target not in taken
    ]
    if not kept:
        return body
    gone = {mount["Target"] for mount in kept}
    volumes: Json = {path: {} for path in body.get("Volumes", ()) if path not in gone}
    return {
        **body,
        "Volumes": volumes,
        "HostConfig": {**host, "Mounts": [*host.get("Mounts", ()), *kept]},
    }
