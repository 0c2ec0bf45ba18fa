"""Boards to PNG: Grafana's components from the npm registry, headless Chromium, pngquant."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import places

SOURCES = Path(__file__).parent
PARTS = ("package.json", "board.jsx", "scrollbars.js")
MOST = 200_000
"""Bytes that a picture may have."""

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<link rel="stylesheet" href="uPlot.min.css">
<script>
window.__grafana_public_path__ = "public/";
window.grafanaBootData = {settings: {featureToggles: {}}};
</script>
<body><div id="root"></div><script type="module" src="board.js"></script></body></html>
"""
COLOURS = (128, 64, 48, 32, 24, 16)
CELL, ABOVE, WIDTH = 38, 110, 1232
CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--virtual-time-budget=20000", "--enable-logging=stderr",
)  # fmt: skip


def draw(recorded: dict[str, Any], place: Path, target: Path) -> Iterator[Path]:
    """A picture in `target` of each board; `place` keeps what is made only once."""
    place = place.resolve()
    _build(place)
    target.mkdir(exist_ok=True)
    for name, one in recorded.items():
        picture = target / name.replace(".json", ".png")
        _one(one, place, picture)
        yield picture


def _build(place: Path) -> None:
    """Install the packages (once), and make one script of them and of ours."""
    place.mkdir(parents=True, exist_ok=True)
    listed = place / "package.json"
    fresh = listed.exists() and listed.read_bytes() == (SOURCES / "package.json").read_bytes()
    for part in PARTS:
        shutil.copy(SOURCES / part, place)
    if not (fresh and (place / "node_modules/.package-lock.json").exists()):
        # Types of React are of no use here, and their versions are argued about.
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps")
        subprocess.run(["npm", "install", *quiet], cwd=place, check=True)
    command = (
        "node_modules/.bin/esbuild", "board.jsx", "--bundle", "--format=esm",
        "--outfile=site/board.js", '--define:process.env.NODE_ENV="production"',
        "--loader:.svg=dataurl", "--loader:.css=empty", "--log-level=error",
        "--alias:react-custom-scrollbars-2=./scrollbars.js",
    )  # fmt: skip
    subprocess.run(command, cwd=place, check=True)
    (place / "site/index.html").write_text(PAGE)
    shutil.copy(place / "node_modules/uplot/dist/uPlot.min.css", place / "site")
    public = place / "site/public"
    public.unlink(missing_ok=True)
    public.symlink_to(place / "node_modules/@grafana/ui/dist/public")


def _one(one: dict[str, Any], place: Path, picture: Path) -> None:
    (place / "site/board.json").write_text(json.dumps(one))
    grid = [panel["gridPos"] for panel in one["board"]["panels"]]
    height = ABOVE + CELL * max(cell["y"] + cell["h"] for cell in grid)
    raw = place / "raw.png"
    raw.unlink(missing_ok=True)
    with _served(place / "site") as address, places.short_folder() as profile:
        command = [
            *CHROMIUM,
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH},{height}",
            f"--screenshot={raw}",
            address,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert raw.exists(), done.stderr
    wrong = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "rror" in line]
    assert not wrong, "\n".join(wrong)
    for colours in COLOURS:
        options = ("--force", "--strip", "--nofs", "--speed=1", "--output", str(picture))
        subprocess.run(["pngquant", *options, str(colours), str(raw)], check=True)
        if picture.stat().st_size <= MOST:
            return
    raise AssertionError(f"{picture} has more than {MOST} bytes")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The URL of the folder on the loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=os.fspath(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
