"""The network's part of a task: planned, made while the shim prepares, given with the start."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from supervisor.engine.joins import join_fds
from supervisor.errors import OrlopError
from supervisor.spec.types import JOINED, Spec

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.shim_client import ShimClient


class TaskNetwork:
    """Owns the descriptor of the run's network namespace until the start has given it away.

    `refusal` is why the run cannot start, where that is known before there is anything to run.
    """

    def __init__(self, container: Container) -> None:
        self.refusal: OrlopError | None = None
        self._container = container
        self._runs = container.host.network_runs
        self._done = trio.Event()  # it is there, or will not be
        self._namespace = -1
        self.user = -1  # a user namespace that is ready for the run, the owner of its network

    @property
    def is_done(self) -> bool:
        """It was made, or cannot be."""
        return self._done.is_set()

    def plan(self) -> None:
        """Choose what the run has, before anything is written that tells it; raises OrlopError."""
        self._container.refusal = None
        if self._runs is not None:
            try:
                self._runs.plan(self._container)
            except OrlopError as error:
                self._refuse_network(error)
                raise
        if self._runs is None or self._runs.find(self._container) is None:
            self._done.set()  # nothing is to be made
        else:
            self.user = self._runs.user_of(self._container)

    def fit(self, spec: Spec) -> Spec:
        """The run's spec for what was planned: a network that is ready is given with the start."""
        if self.user < 0:
            return spec
        listed = tuple(
            replace(one, path=JOINED) if one.type == "network" else one for one in spec.namespaces
        )
        return replace(spec, namespaces=listed, wire_network=False)

    async def make(self) -> None:
        """Make what the start needs of it; once, whatever becomes of the shim meanwhile."""
        if self._done.is_set() or self._runs is None:
            self._done.set()
            return
        try:
            self._namespace = await self._runs.begin(self._container)
        except OrlopError as error:
            self._refuse_network(error)
        finally:
            self._done.set()

    async def make_again(self) -> None:
        """Of a run that is adopted before its start, which holds a namespace no more."""
        if self._runs is not None:
            await self.end()
            try:
                self.plan()
            except OrlopError:
                self._done.set()
                return
            self._container.host.write_etc(self._container)
        await self.make()

    async def wire(self, shim: ShimClient) -> None:
        """Fill the namespace that the container made itself, while its init waits."""
        try:
            fd = shim.take_network()
            try:
                if self._runs is not None:
                    await self._runs.wire(self._container, fd)
            finally:
                os.close(fd)
        except OrlopError as error:
            if shim.gone:
                return  # that is why, and it is told as that
            self._refuse_network(error)
        with suppress(OrlopError):  # it may have ended meanwhile, which is told otherwise
            if self.refusal is None:
                await shim.request("wired")
            else:
                await shim.request("wired", error=self.refusal.message)

    async def shared(self) -> dict[str, int]:
        """Kind → descriptor of other containers' namespaces to be in, which are the caller's.

        Returns when all is there that a start needs, the record on disk included; else raises
        the refusal.
        """
        if not self._done.is_set():
            await self._done.wait()
        if self.refusal is None:
            try:
                # What runs is on disk as what runs, or the next supervisor would not look for it.
                # Until here that may be on its way: a held shim leaves with its supervisor.
                await self._container.saved()
                return await join_fds(self._container.host.find, self._container)
            except OrlopError as error:
                self._refuse(error)
        assert self.refusal is not None
        raise self.refusal

    def given(self) -> dict[str, int]:
        """The run's own namespace, by kind; it stays ours."""
        return {"network": self._namespace} if self._namespace >= 0 else {}

    def close(self) -> None:
        """Let go of the namespaces: the container has them, or nobody will."""
        for fd in (self._namespace, self.user):
            if fd >= 0:
                os.close(fd)
        self._namespace = self.user = -1

    async def end(self) -> None:
        """The run is over, or will not be; nothing to do is fine."""
        if self._runs is not None:
            await self._runs.end(self._container)

    def _refuse_network(self, error: OrlopError) -> None:
        self._refuse(type(error)(f"failed to set up container networking: {error.message}"))

    def _refuse(self, error: OrlopError) -> None:
        """Whoever asked for the start is told that."""
        self.refusal = self._container.refusal = error
