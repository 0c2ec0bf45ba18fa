"""What differs between two configurations, and the labels that tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.apply import marks
from supervisor.cli.apply.differences import differences
from tests.unit.cli.apply.files import project_of, service_of


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("", "", []),
        ("tty: true", "", ["tty: true is gone"]),
        ("", "mem_limit: 5m", ["mem_limit: 5242880 is new"]),
        ("command: a b", "command: a c", ['command: ["a", "b"] -> ["a", "c"]']),
        (
            "environment: {A: 1, B: 2}",
            "environment: {A: 1, B: 3, C: 4}",
            ['environment.B: "2" -> "3"', 'environment.C: "4" is new'],
        ),
        ("labels: {a: b}", "labels: {a: c}", ['labels.a: "b" -> "c"']),
        (
            "volumes: [/a:/a]",
            "volumes: [/a:/a, {type: tmpfs, target: /t}]",
            [
                'volumes: ["/a:/a"] -> ["/a:/a"] [{"Target": "/t", "Type": "tmpfs"}]',
            ],
        ),
        (
            "networks: {default: }",
            "networks: {default: {aliases: [x]}}",
            ['networks.shop_default.Aliases: ["web"] -> ["web", "x"]'],
        ),
        (
            "ports: ['80:80']\nexpose: [82]",
            "ports: ['80:81']\nexpose: [82]",
            [
                'ports.80/tcp: [{"HostIp": "", "HostPort": "80"}] is gone',
                'ports.81/tcp: [{"HostIp": "", "HostPort": "80"}] is new',
            ],
        ),
        ("", "ports: [80]", ['ports.80/tcp: [{"HostIp": "", "HostPort": ""}] is new']),
        ("restart: no", "restart: always", ['restart.Name: "no" -> "always"']),
        ("healthcheck: {test: a}", "", ['healthcheck.Test: ["CMD-SHELL", "a"] is gone']),
    ],
)
def test_in_the_words_of_the_file(old: str, new: str, said: list[str]) -> None:
    found = differences(service_of(old).config, service_of(new).config)
    assert [str(one) for one in found] == said


def test_the_example_of_the_documentation() -> None:
    text = (Path(__file__).parents[4] / "docs" / "apply.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    before, after = (
        next(
            one.config for one in project_of(example, variables=given).services if one.name == "web"
        )
        for given in ({}, {"PORT": "8000"})
    )
    found = differences(before, after)
    words = ", ".join(f"{word} changed" for word in dict.fromkeys(one.word for one in found))
    assert f"~ recreate container shop-web-1 ({words})\n        {found[0]}\n" in text


def test_every_field_that_a_service_can_set_has_a_word_of_the_file() -> None:
    from supervisor.cli.apply.services import KEYS

    everything: dict[str, Any] = service_of(
        "command: a\nentrypoint: a\nenvironment: [A=b]\nuser: u\nworking_dir: /w\nhostname: h\n"
        "domainname: d\nlabels: [a]\ncap_add: [A]\ncap_drop: [B]\nprivileged: true\n"
        "read_only: true\ntmpfs: /t\nsysctls: [a=b]\nulimits: {core: 0}\ndns: 1.1.1.1\n"
        "dns_search: a\ndns_opt: [a]\nextra_hosts: [a=1.1.1.1]\nstop_signal: A\n"
        "stop_grace_period: 1s\ninit: true\ntty: true\nstdin_open: true\ndevices: [/dev/a]\n"
        "security_opt: [no-new-privileges]\npid: host\nipc: host\nuserns_mode: host\n"
        "group_add: [a]\nshm_size: 1m\nlogging: {driver: local}\nmem_limit: 1m\n"
        "mem_reservation: 1m\nmemswap_limit: 1m\ncpus: 1\ncpu_shares: 1\ncpu_quota: 1\n"
        "cpu_period: 1\ncpuset: 1\npids_limit: 1\noom_score_adj: 1\noom_kill_disable: true\n"
        "cgroup: host\nuts: host\nrestart: always\nports: [1]\nexpose: [2]\nvolumes: [/a]\n"
        "healthcheck: {test: a}"
    ).config
    words = {one.word for one in differences({}, everything)}
    assert words - KEYS.keys() == set()
    assert len(words) > 45


def test_labels_tell_what_something_was_made_from() -> None:
    config = {"Image": "box", "Labels": {"a": "b"}, "HostConfig": {"Memory": 5}}
    labels = marks.marked(config, {marks.PROJECT: "shop"})
    assert labels["a"] == "b"
    assert labels[marks.PROJECT] == "shop"
    assert marks.config_of(labels) == config
    turned = {name: config[name] for name in reversed(config)}
    assert marks.marked(turned, {})[marks.HASH] == labels[marks.HASH]
    other = marks.marked({**config, "Image": "box:2"}, {})
    assert other[marks.HASH] != labels[marks.HASH]


@pytest.mark.parametrize("text", ["", "{", "[]", "5"])
def test_labels_that_tell_nothing(text: str) -> None:
    assert marks.config_of({marks.CONFIG: text}) == {}
