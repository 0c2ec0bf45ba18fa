"""Limits, and what happens at one."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from tests.demo.stage import IMAGE, Stage
from tests.support.daemon import UnixConnection
from tests.support.pace import limit

MEMORY = 50 << 20
OOM_LIMIT = 20 << 20
EVENT_MS = 50.0
KILLED = 137


def read_back(stage: Stage) -> None:
    """What the kernel has is what was asked for; an update changes it live."""
    unified = stage.layout.kind == "unified"
    stage.chapter(
        "Limits",
        "50 MB of memory, half a CPU, 20 processes. They are read back where the kernel has them: "
        "in the container's own cgroup, seen from inside. An update takes hold at once.",
    )
    files = {
        "memory": ("memory.max" if unified else "memory/memory.limit_in_bytes", str(MEMORY)),
        "cpu": ("cpu.max" if unified else "cpu/cpu.cfs_quota_us", "50000"),
        "pids": ("pids.max" if unified else "pids/pids.max", "20"),
    }
    options = ("--memory", "50m", "--cpus", "0.5", "--pids-limit", "20")
    name = stage.start(*options, "sleep 60")
    for controller, (file, wanted) in files.items():
        if controller not in stage.layout.controllers:
            stage.note(f"this host has no {controller} controller")
            continue
        text = stage.orlop("exec", name, "cat", f"/sys/fs/cgroup/{file}").stdout
        stage.check(f"{file} is {wanted}", text.split()[:1] == [wanted])
    script = "i=0; while [ $i -lt 30 ]; do sleep 1 & i=$((i+1)); done 2>&1 | head -n1"
    if "pids" in stage.layout.controllers:
        refused = stage.orlop("exec", name, "sh", "-c", f"({script})").stdout
        stage.check("the 21st process is refused", "fork" in refused)
    stage.orlop("update", "--memory", "80m", "--memory-swap", "160m", name)
    text = stage.orlop("exec", name, "cat", f"/sys/fs/cgroup/{files['memory'][0]}").stdout
    stage.check("after the update: 80 MB", text.strip() == str(80 << 20))
    stage.remove(name)


def out_of_memory(stage: Stage) -> None:
    """An OOM kill becomes an event, without polling."""
    stage.chapter(
        "Out of memory",
        "A program that takes memory without end, with a limit of 20 MB. The kernel kills it; the "
        "supervisor, woken by the kernel, tells it as an event with limit and peak. A thread here "
        "reads the kernel's own counter to see the moment of the kill.",
    )
    program = ("sh", "-c", "sleep 0.3; exec tail /dev/zero")
    created = stage.orlop("create", "--memory", "20m", "--name", "hungry", IMAGE, *program)
    id = created.stdout.strip()
    seen = Kill(stage, id)
    listener = UnixConnection(stage.daemon.socket, 30.0)
    listener.request("GET", "/events?filters=%7B%22event%22%3A%5B%22oom%22%5D%7D")
    stream = listener.getresponse()
    seen.start()
    status = stage.daemon.orlop("start", "--attach", "hungry").returncode
    event = json.loads(stream.readline())
    told = event["timeNano"] / 1e9
    listener.close()
    seen.join()
    stage.note(f"event: {json.dumps(event['Actor']['Attributes'])}")
    attributes = event["Actor"]["Attributes"]
    stage.check("the event names the container", event["Actor"]["ID"] == id)
    stage.check("its limit is 20 MB", attributes["memoryLimit"] == str(OOM_LIMIT))
    stage.check("its peak is the limit", int(attributes["memoryPeak"]) >= 0.9 * OOM_LIMIT)
    stage.check("the moment of the kill was seen", seen.at > 0)
    late = 1000 * (told - seen.at)
    stage.check(
        f"from the kill to the event: {max(late, 0):.1f} ms (promised: at most {EVENT_MS:.0f})",
        late < limit(EVENT_MS),
    )
    state = stage.inspect("hungry")["State"]
    stage.check(
        "orlop says so, too: exit code 137, OOMKilled",
        (status, state["ExitCode"], state["OOMKilled"]) == (KILLED, KILLED, True),
    )
    stage.orlop("ps", "-a")
    stage.remove("hungry")


class Kill(threading.Thread):
    """Reads the container's OOM counter every 0.2 ms until it rises; `at` is that time (epoch)."""

    def __init__(self, stage: Stage, id: str) -> None:
        super().__init__(daemon=True)
        unified = stage.layout.kind == "unified"
        mount = stage.layout.unified if unified else stage.layout.v1["memory"]
        folder = Path(mount, stage.daemon.cgroup_parent, id)
        self.file = folder / ("memory.events" if unified else "memory.oom_control")
        self.at = 0.0

    def run(self) -> None:
        """Until the kill, or 20 s."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                words = self.file.read_text().split()
            except OSError:
                words = []
            if "oom_kill" in words and words[words.index("oom_kill") + 1] != "0":
                self.at = time.time()
                return
            time.sleep(0.0002)
