"""From what is wanted and what there is to what is to be done. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.cli.apply import marks, seen, steps, wanted
from supervisor.cli.apply.differences import Difference
from supervisor.cli.apply.judge import Words, changes, not_ours, reasons, state
from supervisor.cli.apply.steps import Plan, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line allows."""

    remove_orphans: bool = False
    take_over: bool = False


def plan(project: wanted.Project, host: seen.Host, choices: Choices) -> Plan:
    """What makes `host` as the project wants it."""
    return _Planning(project, host, choices).plan()


def plan_down(project: wanted.Project, host: seen.Host) -> Plan:
    """What takes the project away but for its volumes: those that others wait for come last."""
    order = {service.name: at for at, service in enumerate(project.services)}
    containers = sorted(
        host.containers,
        key=lambda one: (-order.get(one.service, len(order)), one.service, one.name),
    )
    members = {one.id for one in host.containers}
    networks = _own_networks(project.name, host)
    return Plan(
        removals=tuple(_removal(one) for one in containers),
        cleared=tuple(Step(verb=steps.REMOVE, kind="network", name=n.name) for n in networks),
        problems=tuple(
            f"network {network.name} is in use by others: disconnect them first"
            for network in networks
            if network.members - members
        ),
    )


class _Planning:
    def __init__(self, project: wanted.Project, host: seen.Host, choices: Choices) -> None:
        self.project = project
        self.host = host
        self.choices = choices
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.removals: list[Step] = []
        self.new_networks: set[str] = set()
        """Those that are made anew, with all that is in them."""
        self.new_services: set[str] = set()
        self.leaving: set[str] = set()
        """Ids of containers that are in no network after this."""

    def plan(self) -> Plan:
        self._orphans()
        networks = tuple(self._network(one) for one in self.project.networks)
        volumes = tuple(self._volume(one) for one in self.project.volumes)
        services = tuple((one, tuple(self._service(one))) for one in self.project.services)
        cleared = tuple(self._cleared())
        for step in networks:
            if step.verb == steps.RECREATE:
                self._check_members(step.name)
        return Plan(
            networks=networks,
            volumes=volumes,
            removals=tuple(self.removals),
            services=services,
            cleared=cleared,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
        )

    # --- networks and volumes

    def _network(self, network: wanted.Resource) -> Step:
        there = self.host.networks.get(network.name)
        verb, why = steps.KEEP, Words()
        found: tuple[Difference, ...] = ()
        if there is None and network.external:
            self.problems.append(
                f"network {network.name} is external and not there:"
                f" make it with orlop network create {network.name}"
            )
        elif network.external:
            why = ("external",)
        elif there is None:
            verb = steps.CREATE
        elif there.labels.get(marks.PROJECT) != self.project.name:
            verb, why = steps.RECREATE, (not_ours(there.labels),)
            if not self.choices.take_over:
                self.problems.append(
                    f"network {network.name} is there and {not_ours(there.labels)}: declare it"
                    " external: true to use it, give the project another name, or --take-over to"
                    " have it made anew"
                )
        else:
            found = changes(there.labels, network.config)
            why = reasons(there.labels, network.config, found)
            verb = steps.RECREATE if why else steps.KEEP
        if verb == steps.RECREATE:
            self.new_networks.add(network.name)
        return Step(
            verb=verb,
            kind="network",
            name=network.name,
            why=why,
            differences=found,
            resource=network,
        )

    def _check_members(self, name: str) -> None:
        others = self.host.networks[name].members - self.leaving
        ours = {one.id: one.name for one in self.host.containers}
        for id in sorted(others):
            who = f"{ours[id]}, which no service wants: add --remove-orphans" if id in ours else id
            self.problems.append(f"network {name} is to be made anew and has in it {who[:200]}")

    def _cleared(self) -> Iterable[Step]:
        """Networks of the project that the file has no longer."""
        names = {network.name for network in self.project.networks}
        for network in _own_networks(self.project.name, self.host):
            if network.name in names:
                continue
            if self.choices.remove_orphans and not network.members - self.leaving:
                yield Step(
                    verb=steps.REMOVE, kind="network", name=network.name, why=("not in the file",)
                )
            elif not self.choices.remove_orphans:
                self.notes.append(_orphaned("network", network.name))

    def _volume(self, volume: wanted.Resource) -> Step:
        there = self.host.volumes.get(volume.name)
        verb, why = steps.KEEP, Words()
        if volume.external:
            why = ("external",)
            if there is None:
                self.problems.append(
                    f"volume {volume.name} is external and not there:"
                    f" make it with orlop volume create {volume.name}"
                )
        elif there is None:
            verb = steps.CREATE
        elif there.labels.get(marks.PROJECT) != self.project.name:
            self.problems.append(
                f"volume {volume.name} is there and {not_ours(there.labels)}: declare it"
                " external: true to use it, or give the project another name"
            )
        elif differs := reasons(there.labels, volume.config, changes(there.labels, volume.config)):
            self.notes.append(
                f"volume {volume.name} is not as the file says ({', '.join(differs)}): volumes are"
                " never changed; to have it made anew remove it, with what is in it"
            )
        return Step(verb=verb, kind="volume", name=volume.name, why=why, resource=volume)

    # --- containers

    def _orphans(self) -> None:
        names = {service.name for service in self.project.services}
        for one in self.host.containers:
            if one.service in names:
                continue
            if self.choices.remove_orphans:
                self._remove(one, "not in the file")
            else:
                self.notes.append(_orphaned("container", one.name))

    def _remove(self, container: seen.Container, why: str) -> None:
        self.removals.append(_removal(container, why))
        self.leaving.add(container.id)

    def _service(self, service: wanted.Service) -> Iterable[Step]:
        if service.in_default_network and wanted.DEFAULT_NETWORK not in self.host.networks:
            self.problems.append(
                f"service {service.name} has network_mode: bridge, and the daemon has no default"
                " network (--bridge none, or its log says why): declare networks: for it, or give"
                " network_mode: none or host"
            )
        there: dict[int, list[seen.Container]] = {}
        for one in self.host.containers:
            if one.service == service.name:
                there.setdefault(one.number, []).append(one)
        for number, name in enumerate(service.containers, 1):
            candidates = sorted(there.pop(number, ()), key=lambda one: one.name != name)
            for left in candidates[1:]:
                self._remove(left, "left by an apply that did not end")
            current = candidates[0] if candidates else None
            step = self._container(service, number, name, current)
            if step.verb == steps.RECREATE:
                self.new_services.add(service.name)
                assert step.container is not None
                self.leaving.add(step.container.id)
            yield step
        for number in sorted(there):
            for one in there[number]:
                self._remove(one, "one too many")

    def _container(
        self, service: wanted.Service, number: int, name: str, there: seen.Container | None
    ) -> Step:
        stranger = self.host.strangers.get(name)
        if stranger is not None and not (there is None and self.choices.take_over):
            self.problems.append(
                f"container {name} is there and {not_ours(stranger.labels)}: remove or rename it,"
                " give the project another name, or --take-over to have it replaced"
            )
        verb, why = steps.CREATE, Words()
        found: tuple[Difference, ...] = ()
        if there is None and stranger is not None:
            there, verb, why = stranger, steps.RECREATE, (not_ours(stranger.labels),)
        elif there is not None:
            found = changes(there.labels, service.config)
            why = self._reasons(service, there, found)
            verb = steps.RECREATE if why else steps.KEEP
            if not why and there.name != name:
                verb, why = steps.RENAME, (f"it is {there.name}",)
            elif not why:
                verb, why = state(there)
        return Step(
            verb=verb,
            kind="container",
            name=name,
            why=why,
            differences=found,
            container=there,
            number=number,
        )

    def _reasons(
        self,
        service: wanted.Service,
        there: seen.Container,
        found: tuple[Difference, ...],
    ) -> tuple[str, ...]:
        why = list(reasons(there.labels, service.config, found))
        image = self.host.images.get(service.image)
        if image is not None and there.image != image and "image changed" not in why:
            why.append("image changed")
        why += [
            f"network {name} is made anew" for name in service.networks if name in self.new_networks
        ]
        why += [
            f"{other}, whose namespace it is in, is made anew"
            for other in service.shares
            if other in self.new_services
        ]
        if there.status in ("dead", "removing"):
            why.append(f"it is {there.status}")
        return tuple(why)


def _removal(container: seen.Container, *why: str) -> Step:
    return Step(
        verb=steps.REMOVE, kind="container", name=container.name, why=why, container=container
    )


def _own_networks(project: str, host: seen.Host) -> list[seen.Network]:
    networks = sorted(host.networks.values(), key=lambda one: one.name)
    return [one for one in networks if one.labels.get(marks.PROJECT) == project]


def _orphaned(kind: str, name: str) -> str:
    return (
        f"{kind} {name} belongs to the project and is not in the file: --remove-orphans removes it"
    )
