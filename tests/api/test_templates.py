"""Our templates beside docker's own: the same table for both commands, the same answers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.box import Box
from tests.unit.cli.fake_daemon import running
from tests.unit.cli.template_cases import CASES, CONTAINER, REFUSED

Inspect = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def docker_inspect(short_folder: Path) -> Iterator[Inspect]:
    """`docker inspect -f TEMPLATE` of the table's container."""
    with running(short_folder / "d.sock") as daemon:
        daemon.on_json("GET", "/containers/web/json", CONTAINER)
        daemon.on_json("HEAD", "/_ping")
        environment = {
            **os.environ,
            "DOCKER_HOST": daemon.address,
            "DOCKER_API_VERSION": "1.51",
            "DOCKER_CONFIG": str(short_folder),
        }

        def inspect(template: str) -> subprocess.CompletedProcess[str]:
            words = ["docker", "inspect", "--type", "container", "-f", template, "web"]
            return subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=60
            )

        yield inspect


def test_the_table_is_what_docker_does(docker_inspect: Inspect) -> None:
    version = subprocess.run(["docker", "--version"], capture_output=True, text=True).stdout
    if not version.startswith("Docker version 2") or version < "Docker version 27":
        pytest.skip(f"its templates are those of an older Go: {version.strip()}")
    shown = [(template, docker_inspect(template).stdout) for template, _ in CASES]
    assert shown == [(template, f"{expected}\n") for template, expected in CASES]
    taken = [template for template in REFUSED if docker_inspect(template).returncode == 0]
    assert taken == []


def test_both_commands_show_a_real_container_alike(box: Box) -> None:
    name = box.start(
        *("--label", "a.b=c d", "--label", "e=", "-e", "X=y", "--memory", "64m", "-w", "/tmp"),
        *("--mount", "type=tmpfs,target=/t"),
    )
    for template in (
        "{{.Id}} {{.Name}} {{.State.Status}} {{.State.Pid}} {{.RestartCount}}",
        "{{json .Config.Labels}} {{json .Config.Env}} {{json .Args}}",
        '{{index .Config.Labels "a.b"}}|{{index .Config.Labels "nope"}}|{{.Config.Labels.nope}}',
        "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}{{len .Config.Labels}}",
        "{{range .Config.Env}}{{println .}}{{end}}",
        "{{if eq .State.Status `running`}}up since {{.State.StartedAt}}{{end}}",
        '{{.HostConfig.Memory}} {{printf "%08.2f" 1.5}} {{.HostConfig.RestartPolicy.Name}}',
        "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}",
        "{{join .Config.Cmd `,`}} {{.Path | upper}}",
        "{{.Config.WorkingDir}} {{.Config.Tty}} {{not .Config.OpenStdin}}",
    ):
        ours = box.ok("inspect", "-f", template, name)
        theirs = box.daemon.docker("inspect", "-f", template, name)
        assert ours == theirs.stdout.strip(), template
    for words in (
        ("ps", "--format", r"table {{.ID}}\t{{upper .Names}}\t{{.Label `a.b`}}\t{{.State}}"),
        ("ps", "--no-trunc", "--format", "{{.ID}} {{.Image}} {{.Command}} {{json .Names}}"),
        ("images", "--format", "{{.Repository}}:{{.Tag}} {{slice .ID 0 3}}"),
    ):
        theirs = box.daemon.docker(*words)
        assert box.ok(*words) == theirs.stdout.strip(), (words, theirs.stderr)


def test_a_template_that_fails_shows_nothing_on_stdout(box: Box) -> None:
    made = box.start()
    done = box.orlop("inspect", "-f", "{{.Id}} {{.Nope}}", made)
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 1, column 11: there is no field 'Nope'; there are AppArmorProfile," in done.stderr
