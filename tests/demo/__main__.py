"""Run the demonstration: each chapter shows something and checks that it is true."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing

from tests.api.network_box import Machine
from tests.demo import cleanup, files, isolation, limits, networks, survival
from tests.demo.stage import IMAGE, Stage
from tests.support import leaks, places
from tests.support.daemon import Daemon

CHAPTERS = (
    isolation.namespaces,
    isolation.processes_and_host_name,
    isolation.network_and_messages,
    isolation.mounts,
    isolation.privileges,
    isolation.user_namespace,
    networks.names_and_ports,
    files.copy_up,
    files.read_only,
    limits.read_back,
    limits.out_of_memory,
    survival.exit_codes,
    cleanup.nothing_left,
)


def main() -> int:
    """0 if all that was shown is true."""
    if os.geteuid() != 0:
        print("the demonstration needs root: namespaces, cgroups and mounts", file=sys.stderr)
        return 1
    began = time.monotonic()
    leaks.become_subreaper()
    before = leaks.Snapshot.take()
    with places.short_folder() as folder, closing(Machine(folder)) as machine:
        daemon = Daemon(folder, networked=True)
        daemon.command = machine.inside(daemon.command)
        try:
            stage = Stage(daemon, machine, before)
            opening(stage)
            for chapter in CHAPTERS:
                chapter(stage)
        finally:
            daemon.close()
    seconds = time.monotonic() - began
    print(f"\n{stage.passed} checks hold, {len(stage.failed)} do not; {seconds:.1f} s.")
    for claim in stage.failed:
        print(f"NOT TRUE: {claim}")
    return 1 if stage.failed else 0


def opening(stage: Stage) -> None:
    """Start the supervisor and make the image."""
    stage.chapter(
        "A supervisor and an image",
        "A supervisor with a data root and cgroups of its own. The image is one layer made on "
        "the spot from this machine's static busybox: nothing is downloaded.",
    )
    stage.daemon.start()
    stage.note(f"host: kernel {os.uname().release}, cgroups {stage.layout.kind}")
    made = stage.orlop("image", "scratch", IMAGE)
    stage.check("the image was made", made.returncode == 0)
    stage.orlop("images")


if __name__ == "__main__":
    sys.exit(main())
