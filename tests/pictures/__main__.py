"""`python -m tests.pictures`: run a shop, let Prometheus look at it, and draw every board."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from tests.api.network_box import network_box
from tests.api.prometheus_server import prometheus
from tests.pictures import drawing, recording
from tests.pictures.shop import open_shop, opened
from tests.support import places
from tests.support.oci_layout import image, noise
from tests.support.registry import running_registry
from tests.unit.metrics.test_dashboards import FOLDER

PLACE = Path(".cache/pictures")
RECORDED = PLACE / "recorded.json"
INTERVAL = 5
PARTS_SIZE = 3_000_000


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="python -m tests.pictures",
        description="Draw the boards of dashboards/ into dashboards/pictures/: a daemon runs "
        "containers of several kinds, Prometheus scrapes it, and Grafana's components draw what "
        "it answers in headless Chromium.",
    )
    p.add_argument("--minutes", type=float, default=10.0, metavar="N", help="default 10")
    p.add_argument(
        "--again", action="store_true", help="draw what was recorded the last time, no daemon"
    )
    p.add_argument("--record-only", action="store_true", help="record without drawing, for --again")
    return p


def record(minutes: float) -> None:
    """Run the shop for so long, and write down what the boards would show of it."""
    address = ("--metrics-addr", "127.0.0.1:9323")
    with (
        places.short_folder() as folder,
        network_box(*address) as box,
        prometheus(box, folder, INTERVAL) as server,
    ):
        (folder / "registry").mkdir()
        registries = running_registry(folder / "registry")
        registry = box.host.do(registries.__enter__)
        try:
            parts = image({"parts": noise(PARTS_SIZE)})
            box.host.do(lambda: registry.put("shop/parts:1", parts))
            with open_shop(box, registry):
                opened(box)
                time.sleep(60 * minutes)
                recorded = recording.record(server, int(60 * minutes), INTERVAL)
        finally:
            registries.__exit__(None, None, None)
    recording.save(recorded, RECORDED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, draw, and say what has nothing to show."""
    options = parser().parse_args(arguments)
    if not options.again:
        record(options.minutes)
    recorded = json.loads(RECORDED.read_text())
    for text in recording.empty(recorded):
        print("nothing to show:", text)
    for text in recording.flat(recorded):
        print("nothing but 0:", text)
    if not options.record_only:
        for picture in drawing.draw(recorded, PLACE, FOLDER / "pictures"):
            print(picture, f"{picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
