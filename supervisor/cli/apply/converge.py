"""Carries a plan out, and says each thing when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from supervisor.cli.apply import marks, seen, steps, wanted
from supervisor.cli.apply.conditions import await_condition, reached, word
from supervisor.cli.apply.draft import STARTED
from supervisor.cli.apply.observe import look
from supervisor.cli.apply.replace import Replacement
from supervisor.cli.apply.steps import Plan, Step
from supervisor.cli.client import Call, Client, container_path, network_path
from supervisor.cli.failures import DaemonError, Failure

Say = Callable[[str], None]


class Converging:
    """One plan on its way; `timeout` is the seconds that each condition may take."""

    def __init__(
        self, client: Client, project: wanted.Project, timeout: float, say: Say, warn: Say
    ) -> None:
        self.client = client
        self.project = project
        self.timeout = timeout
        self.say = say
        self.warn = warn
        self.done = 0
        """Steps that have changed something."""

    def run(self, plan: Plan) -> None:
        """All of it; a Failure says which step cannot be done. What is done until then stays."""
        self._remove(plan.removals)
        self._networks(plan)
        for step in plan.volumes:
            if step.verb == steps.CREATE:
                with self._doing(step):
                    self._make(step, "/volumes/create", marks.VOLUME)
            self._tell(step)
        for service, todo in plan.services:
            if any(step.starts for step in todo):
                self._await_dependencies(service)
            for step in todo:
                self._container(service, step)
        for step in plan.cleared:
            with self._doing(step):
                self.client.delete(network_path(step.name))
            self._tell(step)

    # --- networks

    def _networks(self, plan: Plan) -> None:
        for step in plan.networks:
            if step.verb == steps.RECREATE:
                with self._doing(step):
                    self._leave(step.name, plan)
                    self.client.delete(network_path(step.name))
            if step.changes:
                with self._doing(step):
                    answer = self._make(step, "/networks/create", marks.NETWORK)
                    if answer.get("Warning"):
                        self.warn(f"network {step.name}: {answer['Warning']}")
            self._tell(step)

    def _make(self, step: Step, path: str, mark: str) -> Any:
        """Make the network or volume of a step; the daemon's answer."""
        assert step.resource is not None
        own = {marks.PROJECT: self.project.name, mark: step.resource.key}
        config = step.resource.config
        body = {**config, "Labels": marks.marked(config, own)}
        return self.client.post(path, body=body)

    def _leave(self, network: str, plan: Plan) -> None:
        """Stop what is in the network; all of that is made anew after it."""
        calls = [
            self.client.begin("POST", container_path(step.container.id, "stop"))
            for service, todo in plan.services
            for step in todo
            if step.container is not None and step.container.runs and network in service.networks
        ]
        _finish(calls)

    # --- containers

    def _container(self, service: wanted.Service, step: Step) -> None:
        with self._doing(step):
            match step.verb:
                case steps.CREATE:
                    self._create(service, step)
                case steps.RECREATE:
                    self._replacement(service, step).run()
                case steps.RENAME:
                    self._rename(step)
                case steps.START:
                    self._post(step, "start")
                case steps.UNPAUSE:
                    self._post(step, "unpause")
        self._tell(step)

    def _replacement(self, service: wanted.Service, step: Step) -> Replacement:
        assert step.container is not None
        body = service.body(self.project.name, step.number)
        return Replacement(self.client, step.container, step.name, body, self.warn)

    def _create(self, service: wanted.Service, step: Step) -> None:
        body = service.body(self.project.name, step.number)
        answer = self.client.post("/containers/create", {"name": step.name}, body)
        for warning in answer.get("Warnings") or ():
            self.warn(f"container {step.name}: {warning}")
        self.client.post(container_path(str(answer["Id"]), "start"))

    def _rename(self, step: Step) -> None:
        assert step.container is not None
        path = container_path(step.container.id, "rename")
        self.client.post(path, {"name": step.name})
        if step.container.status == "paused":
            self._post(step, "unpause")
        elif not step.container.runs and not step.container.done:
            self._post(step, "start")

    def _post(self, step: Step, action: str) -> None:
        assert step.container is not None
        self.client.post(container_path(step.container.id, action))

    def _await_dependencies(self, service: wanted.Service) -> None:
        names = {one.name: one.containers for one in self.project.services}
        for dependency in service.depends:
            if dependency.condition == STARTED:
                continue
            for name in names[dependency.service]:
                self._await(name, dependency.condition, service.name)

    def _await(self, name: str, condition: str, service: str) -> None:
        try:
            if reached(look(self.client, name), name, condition):
                return
            self.say(f". wait for {name} to be {word(condition)}")
            await_condition(self.client, name, condition, time.monotonic() + self.timeout)
        except Failure as failure:
            failure.message = f"service {service} is not started: {failure.message}"
            raise

    def _remove(self, removals: Iterable[Step]) -> None:
        """One service after the other; the containers of one at the same time."""

        def service(step: Step) -> str:
            return step.container.service if step.container else ""

        for _, group in groupby(removals, service):
            todo = list(group)
            self._stop(one.container for one in todo if one.container)
            for step in todo:
                with self._doing(step):
                    assert step.container is not None
                    self._delete(step.container)
                self._tell(step)

    def _stop(self, containers: Iterable[seen.Container]) -> None:
        _finish(
            [
                self.client.begin("POST", container_path(one.id, "stop"))
                for one in containers
                if one.runs or one.status == "paused"
            ]
        )

    def _delete(self, container: seen.Container) -> None:
        try:
            self.client.delete(container_path(container.id), {"force": True})
        except DaemonError as error:
            if error.code != 404:  # it has gone by itself
                raise

    def _tell(self, step: Step) -> None:
        self.say(str(step))
        self.done += step.changes

    @contextmanager
    def _doing(self, step: Step) -> Iterator[None]:
        try:
            yield
        except DaemonError as error:
            verb = "start" if step.verb == steps.KEEP else step.verb
            raise Failure(f"cannot {verb} {step.kind} {step.name}: {error.reason}") from None


def _finish(calls: list[Call]) -> None:
    try:
        for call in calls:
            try:
                call.result()
            except DaemonError as error:
                if error.code != 404:
                    raise
    finally:
        for call in calls:
            call.connection.close()
