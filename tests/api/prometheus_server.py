"""Debian's Prometheus beside a daemon on a machine of its own, and what to ask it."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.api.box import eventually
from tests.api.network_box import Entered, NetworkBox
from tests.support.pace import limit
from tests.unit.metrics.test_dashboards import FOLDER

ADDRESS = "127.0.0.1:9090"
SECONDS_SHOWN = 60


class Prometheus:
    """A server that runs on the daemon's machine."""

    def __init__(self, host: Entered) -> None:
        self._host = host

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API."""

        def ask() -> Any:
            with closing(HTTPConnection(ADDRESS, timeout=limit(10))) as connection:
                connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
                response = connection.getresponse()
                answer = response.read()
                assert response.status == HTTPStatus.OK, answer
                return json.loads(answer)["data"]

        return self._host.do(ask)

    def ready(self) -> bool:
        """It answers, and has scraped."""
        try:
            return self.value('up{job="orlop"}') == 1
        except (OSError, AssertionError):  # it does not listen yet, or answers 503
            return False

    def value(self, query: str) -> float:
        """The only value of a query now; NaN where there is none."""
        found = self.get("query", query=query)["result"]
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else math.nan

    def shown(self, query: str) -> list[float]:
        """Every number that a panel would draw of the last minute."""
        now = time.time()
        times = {"start": f"{now - SECONDS_SHOWN}", "end": f"{now}", "step": "1"}
        series = self.get("query_range", query=query, **times)["result"]
        drawn = [float(text) for one in series for _, text in one["values"]]
        return [number for number in drawn if not math.isnan(number)]


@contextmanager
def prometheus(box: NetworkBox, folder: Path, seconds: int = 1) -> Iterator[Prometheus]:
    """Prometheus with the alerts' rules, scraping each so many seconds, and finding containers."""
    every = {"scrape_interval": f"{seconds}s", "evaluation_interval": f"{seconds}s"}
    found = {"host": box.daemon.host, "refresh_interval": f"{seconds}s"}
    jobs = [
        {"job_name": "orlop", "static_configs": [{"targets": ["127.0.0.1:9323"]}]},
        {
            "job_name": "found",
            "docker_sd_configs": [found],
            "relabel_configs": [{"action": "drop", "regex": ".*"}],  # nothing listens there
        },
    ]
    rules = [str(FOLDER / "alerts.yml")]
    config = folder / "prometheus.yml"
    config.write_text(yaml.dump({"global": every, "rule_files": rules, "scrape_configs": jobs}))
    command = [
        tool(box, "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={ADDRESS}",
        "--log.level=warn",
    ]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            box.machine.inside(command), stdout=output, stderr=output, cwd=folder
        )
    try:
        server = Prometheus(box.host)
        eventually(lambda: process.poll() is not None or server.ready(), 20)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        process.wait(limit(20))


def tool(box: NetworkBox, name: str) -> str:
    """Where setup has put a command of Prometheus."""
    done = subprocess.run(
        ["sh", "-c", f"command -v {name}"],
        env=box.daemon.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
