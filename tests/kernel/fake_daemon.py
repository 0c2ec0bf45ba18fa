"""Stands in for the daemon in the rig's own tests: answers pings, leaves what it is told to.

`python fake_daemon.py --host unix://SOCKET --cgroup-parent NAME --leave KIND…`
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

from tests.support import procfs


class Answers(BaseHTTPRequestHandler):
    """A ping, and no containers."""

    def do_GET(self) -> None:
        """Every path: an empty list."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"[]")

    def address_string(self) -> str:
        """For the log; a unix socket has no address."""
        return "client"


def leave(kind: str, options: argparse.Namespace) -> None:
    """Make what a daemon must not leave behind."""
    if kind == "process" and os.fork() == 0:
        os.setsid()
        time.sleep(600)
        sys.exit()
    if kind == "cgroup":
        for root in procfs.cgroup_roots():
            (root / options.cgroup_parent / "left").mkdir(parents=True)
    if kind == "folder":
        Path(options.data_root, "containers/left").mkdir(parents=True)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    for name in ("--host", "--cgroup-parent", "--data-root", "--run-root", "--metrics-addr"):
        parser.add_argument(name, required=True)
    parser.add_argument("--bridge")
    parser.add_argument("--leave", nargs="*", default=[])
    options = parser.parse_args()
    if "early" in options.leave:
        sys.exit("no room on this deck")
    for kind in options.leave:
        leave(kind, options)
    status = 3 if "status" in options.leave else 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(status))
    path = options.host.removeprefix("unix://")
    Path(path).unlink(missing_ok=True)
    UnixStreamServer(path, Answers).serve_forever()


if __name__ == "__main__":
    main()
