"""Whole files: names, networks, volumes, order, and all errors at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cli.apply.project import Source, name_of_folder, read
from tests.unit.cli.apply.files import FOLDER, findings, project_of, said_of

ONE = "services: {web: {image: box}}\n"


def test_the_name_of_a_project() -> None:
    assert project_of(ONE).name == "shop"  # of its folder
    assert project_of(f"name: mine\n{ONE}").name == "mine"
    assert project_of(f"name: ${{N:-by}}-default\n{ONE}").name == "by-default"
    assert project_of(f"name: mine\n{ONE}", project="asked").name == "asked"
    assert said_of(f"name: Mine\n{ONE}") == [
        (
            "1:7: 'Mine' is no name of a project: lower-case letters, digits, '_' and '-' are"
            " expected, a letter or digit first"
        )
    ]


@pytest.mark.parametrize(
    "folder, name",
    [("/srv/My Shop.2", "myshop2"), ("/srv/_-x", "x"), ("/", ""), ("/srv/äß", "")],
)
def test_the_name_of_a_folder(folder: str, name: str) -> None:
    assert name_of_folder(Path(folder)) == name


def test_a_file_without_any_name() -> None:
    found = read(Source(text=ONE, folder=FOLDER, variables={}))
    assert [said for _, said in found.problems] == [
        "the project has no name: give name: in the file, or --project"
    ]


@pytest.mark.parametrize("text", ["services: {}\n", "services:\n"])
def test_a_file_without_a_service(text: str) -> None:
    assert said_of(text)[0].endswith(": services: has no service")


def test_services_start_after_those_that_they_wait_for() -> None:
    project = project_of(
        "services:\n  a: {image: box, depends_on: [c]}\n  b: {image: box}\n"
        "  c: {image: box, depends_on: {b: {condition: service_healthy}, d: }}\n"
        "  d: {image: box}\n"
    )
    assert [service.name for service in project.services] == ["b", "d", "c", "a"]
    (b, d) = project.services[2].depends
    assert (b.condition, d.condition) == ("service_healthy", "service_started")


def test_a_circle_is_told_where_it_closes() -> None:
    text = (
        "services:\n  a: {image: box, depends_on: [b]}\n  b: {image: box, depends_on: [c]}\n"
        "  c:\n    image: box\n    network_mode: service:b\n"
    )
    assert said_of(text) == ["6:19: these services wait for each other: b → c → b"]


def test_only_what_is_used_is_wanted() -> None:
    project = project_of(
        "services:\n  web: {image: box, networks: [front], volumes: ['a:/a']}\n"
        "networks: {front: , back: }\nvolumes: {a: , b: }\n"
    )
    assert [one.name for one in project.networks] == ["shop_front"]
    assert [one.name for one in project.volumes] == ["shop_a"]
    assert [one.name for one in project_of(ONE).networks] == ["shop_default"]
    alone = "services: {web: {image: box, network_mode: none}}\n"
    assert project_of(alone).networks == ()


def test_networks_and_volumes() -> None:
    project = project_of(
        "services:\n  web: {image: box, networks: [a, b], volumes: ['c:/c', 'd:/d']}\n"
        "networks:\n"
        "  a: {driver: bridge, driver_opts: {k: 1}, internal: true, enable_ipv6: true,"
        " labels: [x=y], attachable: true,\n"
        "      ipam: {driver: default, config: [{subnet: 10.5.0.0/24, gateway: 10.5.0.1,"
        " ip_range: 10.5.0.128/25, aux_addresses: {r: 10.5.0.2}}, {subnet: 'fd00::/64'}]}}\n"
        "  b: {external: true, name: theirs}\n"
        "volumes:\n"
        "  c: {driver: local, driver_opts: {type: tmpfs}, labels: {x: y}, name: mine}\n"
        "  d: {external: true}\n"
    )
    a, b = project.networks
    assert a.config == {
        "Name": "shop_a",
        "Driver": "bridge",
        "Options": {"k": "1"},
        "Internal": True,
        "EnableIPv6": True,
        "Labels": {"x": "y"},
        "IPAM": {
            "Driver": "default",
            "Config": [
                {
                    "Subnet": "10.5.0.0/24",
                    "Gateway": "10.5.0.1",
                    "IPRange": "10.5.0.128/25",
                    "AuxiliaryAddresses": {"r": "10.5.0.2"},
                },
                {"Subnet": "fd00::/64"},
            ],
        },
    }
    assert (b.name, b.external) == ("theirs", True)
    c, d = project.volumes
    assert c.config == {
        "Name": "mine",
        "Driver": "local",
        "DriverOpts": {"type": "tmpfs"},
        "Labels": {"x": "y"},
    }
    assert (d.name, d.external) == ("d", True)


@pytest.mark.parametrize(
    "more, said",
    [
        ("networks: {a: {driver: overlay}}", "2:24: 'overlay': bridge is expected"),
        ("networks: {a: {external: true, internal: true}}", "2:32: external: true goes with name"),
        (
            "networks: {a: {ipam: {config: [{gateway: 10.0.0.1}]}}}",
            "2:32: subnet is missing",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0}]}}}",
            "2:41: '10.0.0.0' has no length",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.1.1}]}}}",
            "2:31: no matching subnet for gateway 10.0.1.1",
        ),
        (
            "networks: {a: {ipam: {config: [{subnet: 10.0.0.0/24, aux_addresses: {x: y}}]}}}",
            "2:73: 'y' is no such address",
        ),
        ("networks: {a: {labels: {orlop.apply.x: y}}}", "2:40: labels that begin with"),
        ("volumes: {a: {driver: nfs}}", "2:23: 'nfs': local is expected"),
        ("volumes: {a: {sizee: 5}}", "2:15: unknown key 'sizee' in volumes.a: there are driver"),
        ("volumes: [a]", "2:10: a map is expected"),
        ("secrets: {}", "2:1: secrets is not supported: mount a file"),
        ("service: {}", "2:1: unknown key 'service' in the file: did you mean 'services'?"),
    ],
)
def test_what_is_wrong_beside_services(more: str, said: str) -> None:
    (found,) = said_of(f"{ONE}{more}\n")
    assert found.startswith(said)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = (
        "services:\n  a:\n    imagee: box\n    build: .\n    mem_limit: 5x\n    depends_on: [b]\n"
        "    ports: [1:2:3:4, 80:80, 99999:1]\n  b: {image: '${IMAGE:?say it}', networks: [n]}\n"
        "  c: text\n  d: {init: true}\n  Bad name: {image: box}\n"
    )
    said = said_of(text)
    places = [line.partition(": ")[0] for line in said]
    assert places == [
        *("3:5", "4:5", "5:16", "7:13", "7:29", "8:14", "8:45", "9:6", "10:3", "11:3")
    ]
    assert said[-2:] == [
        "10:3: services.d has no image",
        (
            "11:3: 'Bad name' is no name of a service: letters, digits, '_', '.' and '-' are"
            " expected, a letter or digit first"
        ),
    ]


def test_what_is_wrong_in_an_anchor_is_told_once() -> None:
    text = (
        "x-base: &base {image: box, init: maybe}\nservices:\n  a: {<<: *base}\n  b: {<<: *base}\n"
    )
    assert said_of(text) == ["1:34: 'maybe': true or false is expected"]


def test_merged_keys_may_be_overridden() -> None:
    (service,) = project_of(
        "x-base: &base {init: true, tty: true}\n"
        "services: {web: {<<: *base, image: box, tty: false}}\n"
    ).services
    assert (service.config["Tty"], service.config["HostConfig"]["Init"]) == (False, True)


def test_an_unset_variable_is_a_warning() -> None:
    found = findings("services: {web: {image: box, user: 'a${NONE}'}}\n")
    assert found.project is not None
    assert found.project.services[0].config["User"] == "a"
    ((place, said),) = found.warnings
    assert (place.line, place.column) == (1, 36)
    assert said == "variable NONE is not set: it counts as empty (${NONE:-} says so)"


def test_two_services_with_one_name_for_a_container() -> None:
    text = "services:\n  a: {image: box, container_name: x}\n  b: {image: box, container_name: x}\n"
    assert said_of(text) == ["3:3: the services a and b both have a container x"]


def test_a_namespace_of_a_service_without_replicas() -> None:
    text = "services:\n  a: {image: box, scale: 0}\n  b: {image: box, pid: 'service:a'}\n"
    assert said_of(text) == ["3:3: b is to share with a, which has no replica"]
