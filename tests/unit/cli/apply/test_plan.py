"""From what is wanted and what there is to steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from supervisor.cli.apply import marks, seen, wanted
from supervisor.cli.apply.plan import Choices, plan, plan_down
from supervisor.cli.apply.steps import Plan
from tests.unit.cli.apply.files import project_of

FILE = """
services:
  db: {image: box:1, environment: {A: b}, networks: [back], volumes: ['data:/d']}
  web: {image: box:2, depends_on: [db], networks: [front, back]}
  side: {image: box:2, network_mode: 'service:web'}
networks: {front: , back: {internal: true}}
volumes: {data: }
"""
IMAGES = {"box:1": "sha256:1", "box:2": "sha256:2"}


def marked(project: wanted.Project, one: wanted.Resource) -> dict[str, str]:
    return marks.marked(one.config, {marks.PROJECT: project.name})


def host_of(project: wanted.Project) -> seen.Host:
    """A host that is as the project wants it."""
    containers = tuple(
        seen.Container(
            id=f"id of {name}",
            name=name,
            labels=service.body(project.name, number)["Labels"],
            image=IMAGES[service.image],
        )
        for service in project.services
        for number, name in enumerate(service.containers, 1)
    )
    ids = {one.name: one.id for one in containers}
    return seen.Host(
        containers=containers,
        networks={
            one.name: seen.Network(
                name=one.name,
                labels=marked(project, one),
                members=frozenset(
                    ids[name]
                    for service in project.services
                    if one.name in service.networks
                    for name in service.containers
                ),
            )
            for one in project.networks
        },
        volumes={
            one.name: seen.Volume(name=one.name, labels=marked(project, one))
            for one in project.volumes
        },
        images=IMAGES,
    )


def lines(found: Plan, *, kept: bool = False) -> list[str]:
    assert found.problems == ()
    return [str(step) for step in found.steps() if kept or step.changes]


def with_container(host: seen.Host, which: str, /, **changes: Any) -> seen.Host:
    containers = tuple(
        replace(one, **changes) if one.name == which else one for one in host.containers
    )
    return replace(host, containers=containers)


def planned(text: str, host: seen.Host, **choices: bool) -> Plan:
    return plan(project_of(text), host, Choices(**choices))


def host() -> seen.Host:
    return host_of(project_of(FILE))


def test_on_an_empty_host_everything_is_created() -> None:
    assert lines(planned(FILE, seen.Host(images=IMAGES))) == [
        "+ create network shop_front",
        "+ create network shop_back",
        "+ create volume shop_data",
        "+ create container shop-db-1",
        "+ create container shop-web-1",
        "+ create container shop-side-1",
    ]


def test_a_host_that_is_so_stays_so() -> None:
    found = planned(FILE, host())
    assert lines(found) == []
    assert lines(found, kept=True)[-1] == "= unchanged container shop-side-1"
    # The order in which a file says things is no change.
    turned = FILE.replace(
        "{image: box:1, environment: {A: b}", "{environment: {A: b}, image: box:1"
    )
    assert lines(planned(turned, host())) == []


def test_what_has_changed_is_made_anew_and_told() -> None:
    text = FILE.replace("{A: b}", "{A: c, B: d}").replace("web: {", "web: {mem_limit: 5m, ")
    found = planned(text, host())
    assert lines(found) == [
        "~ recreate container shop-db-1 (environment changed)",
        "~ recreate container shop-web-1 (mem_limit changed)",
        "~ recreate container shop-side-1 (web, whose namespace it is in, is made anew)",
    ]
    (db, *_) = (step for step in found.steps() if step.name == "shop-db-1")
    assert [str(one) for one in db.differences] == [
        'environment.A: "b" -> "c"',
        'environment.B: "d" is new',
    ]


def test_an_image_of_the_same_name_that_is_another() -> None:
    newer = replace(host(), images={**IMAGES, "box:1": "sha256:9"})
    assert lines(planned(FILE, newer)) == ["~ recreate container shop-db-1 (image changed)"]
    gone = replace(host(), images={})  # nobody knows what it would be: it is not asked for
    assert lines(planned(FILE, gone)) == []
    other = FILE.replace("box:1", "box:3")
    newest = replace(host(), images={**IMAGES, "box:3": "sha256:3"})
    assert lines(planned(other, newest)) == ["~ recreate container shop-db-1 (image changed)"]


@pytest.mark.parametrize(
    "state, line",
    [
        ({"status": "running"}, None),
        ({"status": "restarting", "exit_code": 1}, None),
        ({"status": "paused"}, "> unpause container shop-db-1"),
        ({"status": "created"}, "> start container shop-db-1"),
        (
            {"status": "exited", "exit_code": 3},
            "> start container shop-db-1 (it had ended with status 3)",
        ),
        ({"status": "exited", "completed": True}, None),
        ({"status": "exited", "completed": True, "restart": "on-failure"}, None),
        (
            {"status": "exited", "completed": True, "restart": "always"},
            "> start container shop-db-1 (it had ended with status 0)",
        ),
        ({"status": "exited"}, "> start container shop-db-1 (it had ended with status 0)"),
        ({"status": "dead"}, "~ recreate container shop-db-1 (it is dead)"),
    ],
)
def test_what_does_not_run_is_started_but_for_what_is_done(
    state: dict[str, Any], line: str | None
) -> None:
    found = lines(planned(FILE, with_container(host(), "shop-db-1", **state)))
    assert found == ([line] if line else [])


def test_replicas_come_and_go() -> None:
    more = FILE.replace("side: {", "side: {scale: 3, ")
    assert lines(planned(more, host())) == [
        "+ create container shop-side-2",
        "+ create container shop-side-3",
    ]
    assert lines(planned(FILE, host_of(project_of(more)))) == [
        "- remove container shop-side-2 (one too many)",
        "- remove container shop-side-3 (one too many)",
    ]


WITHOUT_SIDE = FILE.replace("  side: {image: box:2, network_mode: 'service:web'}\n", "")


def test_orphans_are_told_of_or_removed() -> None:
    found = planned(WITHOUT_SIDE, host())
    assert lines(found) == []
    assert found.notes == (
        (
            "container shop-side-1 belongs to the project and is not in the file:"
            " --remove-orphans removes it"
        ),
    )
    found = planned(WITHOUT_SIDE, host(), remove_orphans=True)
    assert lines(found) == ["- remove container shop-side-1 (not in the file)"]
    assert found.notes == ()


def test_a_network_that_the_file_has_no_longer() -> None:
    text = FILE.replace("[front, back]", "[back]")
    found = planned(text, host())
    assert lines(found)[0] == (
        "~ recreate container shop-web-1 (network_mode changed, networks changed)"
    )
    assert "network shop_front belongs to the project" in found.notes[0]
    found = planned(text, host(), remove_orphans=True)
    assert lines(found)[-1] == "- remove network shop_front (not in the file)"


def test_a_changed_network_is_made_anew_with_those_in_it() -> None:
    found = planned(FILE.replace("internal: true", "internal: false"), host())
    assert lines(found) == [
        "~ recreate network shop_back (internal changed)",
        "~ recreate container shop-db-1 (network shop_back is made anew)",
        "~ recreate container shop-web-1 (network shop_back is made anew)",
        "~ recreate container shop-side-1 (web, whose namespace it is in, is made anew)",
    ]


def test_a_changed_network_with_others_in_it_is_a_problem() -> None:
    here = host()
    back = here.networks["shop_back"]
    other = {**here.networks, "shop_back": replace(back, members=back.members | {"feed"})}
    found = planned(FILE.replace("internal: true", ""), replace(here, networks=other))
    assert found.problems == ("network shop_back is to be made anew and has in it feed",)
    text = FILE.replace("internal: true", "").replace("  db: {", "  sql: {").replace("[db]", "[]")
    (problem,) = planned(text, here).problems
    assert "shop-db-1, which no service wants: add --remove-orphans" in problem
    assert planned(text, here, remove_orphans=True).problems == ()


def test_volumes_are_never_changed() -> None:
    found = planned(FILE.replace("{data: }", "{data: {driver_opts: {type: tmpfs}}}"), host())
    assert lines(found) == []
    (note,) = found.notes
    assert note.startswith("volume shop_data is not as the file says (driver_opts changed)")


@pytest.mark.parametrize(
    "labels, whose",
    [
        ({}, "not made by orlop apply"),
        ({marks.PROJECT: "other"}, "of the project other"),
        ({marks.COMPOSE_PROJECT: "shop"}, "made by docker compose for shop"),
    ],
)
def test_what_somebody_else_has_made_is_a_problem(labels: dict[str, str], whose: str) -> None:
    there = seen.Host(
        strangers={"shop-db-1": seen.Container(id="1", name="shop-db-1", labels=labels)},
        networks={"shop_back": seen.Network(name="shop_back", labels=labels)},
        volumes={"shop_data": seen.Volume(name="shop_data", labels=labels)},
        images=IMAGES,
    )
    problems = planned(FILE, there).problems
    assert [f"is there and {whose}: " in problem for problem in problems] == [True] * 3
    # Volumes hold what is not to be lost, and cannot be marked as ours.
    (problem,) = planned(FILE, there, take_over=True).problems
    assert problem.startswith("volume shop_data")
    found = planned(FILE, replace(there, volumes={}), take_over=True)
    assert f"~ recreate network shop_back ({whose})" in lines(found)
    assert f"~ recreate container shop-db-1 ({whose})" in lines(found)[3]


def test_the_default_network_has_to_be_there_for_those_that_ask_for_it() -> None:
    text = "services: {db: {image: 'box:1', network_mode: bridge}}"
    (problem,) = planned(text, seen.Host()).problems
    assert problem == (
        "service db has network_mode: bridge, and the daemon has no default network (--bridge "
        "none, or its log says why): declare networks: for it, or give network_mode: none or host"
    )
    there = seen.Host(networks={"bridge": seen.Network(name="bridge")})
    assert lines(planned(text, there)) == ["+ create container shop-db-1"]
    assert planned(FILE, seen.Host()).problems == ()


def test_external_ones_have_to_be_there() -> None:
    text = FILE.replace("front: ,", "front: {external: true},").replace(
        "data: }", "data: {external: true}}"
    )
    assert planned(text, seen.Host(images=IMAGES)).problems == (
        "network front is external and not there: make it with orlop network create front",
        "volume data is external and not there: make it with orlop volume create data",
    )
    there = seen.Host(
        networks={"front": seen.Network(name="front")}, volumes={"data": seen.Volume(name="data")}
    )
    found = lines(planned(text, there), kept=True)
    assert "= unchanged network front (external)" in found
    assert "= unchanged volume data (external)" in found


def test_an_apply_that_was_cut_short_is_mended() -> None:
    aside = "shop-db-1_replaced_123"
    # After the old one was renamed: it gets its name again.
    assert lines(planned(FILE, with_container(host(), "shop-db-1", name=aside))) == [
        f"~ rename container shop-db-1 (it is {aside})"
    ]
    # After the new one was created: that one is taken, the old one goes.
    here = with_container(host(), "shop-db-1", status="created")
    (new,) = (one for one in here.containers if one.name == "shop-db-1")
    old = replace(new, id="old", name=aside, status="running")
    both = replace(here, containers=(old, *here.containers))
    assert lines(planned(FILE, both)) == [
        f"- remove container {aside} (left by an apply that did not end)",
        "> start container shop-db-1",
    ]


def test_another_name_for_a_container_is_a_renaming() -> None:
    text = FILE.replace("db: {", "db: {container_name: store, ")
    assert lines(planned(text, host())) == ["~ rename container store (it is shop-db-1)"]


def test_a_container_without_a_config_label_is_made_anew() -> None:
    (db,) = (one for one in host().containers if one.name == "shop-db-1")
    labels = {name: text for name, text in db.labels.items() if name != marks.CONFIG}
    labels[marks.HASH] = "0"
    here = with_container(host(), "shop-db-1", labels=labels)
    assert lines(planned(FILE, here)) == ["~ recreate container shop-db-1 (config changed)"]


def test_down_takes_first_what_waits_for_others() -> None:
    found = plan_down(project_of(FILE), host())
    assert lines(found) == [
        "- remove container shop-side-1",
        "- remove container shop-web-1",
        "- remove container shop-db-1",
        "- remove network shop_back",
        "- remove network shop_front",
    ]
    assert lines(plan_down(project_of(FILE), seen.Host())) == []


def test_down_with_others_in_a_network_does_nothing() -> None:
    here = host()
    front = replace(here.networks["shop_front"], members=frozenset({"feed"}))
    found = plan_down(
        project_of(FILE), replace(here, networks={**here.networks, "shop_front": front})
    )
    assert found.problems == ("network shop_front is in use by others: disconnect them first",)
