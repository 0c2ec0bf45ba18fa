"""Every flag of the stock `docker run`, given to a daemon: what the documents say is so."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.api.box import IMAGE, Box
from tests.api.network_box import NetworkBox
from tests.support.compatibility import flags
from tests.support.run_flags import ONLY_RUN, SAMPLES

FLAG = re.compile(r"^ +(?:-\w, )?(--[a-z0-9-]+)", re.MULTILINE)


BY_VERSION = frozenset({"--kernel-memory"})
"""Old clients send it, which is refused; new ones leave it out."""


def test_every_flag_of_the_stock_command_is_tried(box: Box) -> None:
    known = set(FLAG.findall(box.daemon.docker("run", "--help").stdout))
    assert len(known) > 80
    assert known - set(SAMPLES) == set()


def test_every_flag_does_what_the_document_says(net: NetworkBox, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    fields = {"folder": str(tmp_path), "disk": a_disk()}
    # The client speaks the version it is made for: some flags are of new ones only.
    environment = {**net.daemon.environment}
    del environment["DOCKER_API_VERSION"]
    net.docker("create", "--name", "linked", IMAGE, "true")
    subnets = ("--subnet", "10.199.9.0/24", "--ipv6", "--subnet", "fd00:199::/64")
    net.docker("network", "create", *subnets, "flags")
    known = set(FLAG.findall(net.daemon.docker("run", "--help").stdout))
    wrong = []
    for flag, row in flags().items():
        if flag not in known or flag in BY_VERSION:  # of a newer client
            continue
        if not fields["disk"] and "{disk}" in "".join(SAMPLES[flag]):
            continue
        words = [word.format_map(fields) for word in SAMPLES[flag]]
        command = "run" if flag in ONLY_RUN else "create"
        done = net.daemon.docker(command, *words, IMAGE, "true", env=environment)
        refused = row.judgement == "refused"
        if (done.returncode != 0) is not refused or (refused and row.words not in done.stderr):
            wrong.append((flag, row, done.returncode, done.stderr))
    assert wrong == []


def a_disk() -> str:
    """A block device of this host, "" without any."""
    found = [f"/dev/{name}" for name in os.listdir("/sys/block")]
    return next((device for device in found if Path(device).exists()), "")
