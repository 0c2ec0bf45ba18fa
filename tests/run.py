"""`python -m tests.run host guest`: the whole suite, on this host and again in the guest.

The host's run comes first on the terminal; the guest, one process on one processor, runs beside
it and is printed after it. Where a few tests failed, these run once more, alone: a machine that
stood still for a moment is no defect, but which tests did not bear it is told. The last line sums
all up as pytest would.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
GUEST_SECONDS = 2400
FEW = 5
TESTS_FAILED = 1  # pytest's exit status
AT_ONCE = ("--numprocesses", "--dist", "--no-loadscope")
PYTEST = (sys.executable, "-m", "pytest")
# Nothing in these depends on the cgroup layout, and the guest is five times slower: `tests/guest/
# run.py` runs them there when asked.
SAME_EVERYWHERE = (
    *(f"tests/api/test_copy{part}.py" for part in ("", "_storm")),
    *(f"tests/api/test_registry{part}.py" for part in ("", "_faults", "_secrets")),
    *(f"tests/api/test_{name}.py" for name in ("apply", "images", "templates", "volumes")),
    *(f"tests/api/test_network{part}.py" for part in ("s", "_clients", "_names", "_ports")),
    *(f"tests/api/test_network_{name}.py" for name in ("metrics", "storm", "traffic")),
    *(f"tests/api/test_{name}.py" for name in ("compatibility", "compose", "docker_py", "events")),
    *(f"tests/api/test_{name}.py" for name in ("explain", "logs", "seccomp", "shared_namespaces")),
    *(f"tests/api/test_{name}.py" for name in ("http", "networking_recovery", "openapi", "prune")),
    *(f"tests/api/test_{name}.py" for name in ("prometheus", "read_only", "schemathesis")),
    *(f"tests/api/test_{name}.py" for name in ("tls", "ws")),
    *(f"tests/kernel/test_{name}.py" for name in ("network_stack", "volume_mounts")),
    *(f"tests/kernel/test_{name}.py" for name in ("archive", "copy_up", "image_store", "pack")),
    *(f"tests/kernel/test_{name}.py" for name in ("unpack", "whence", "work_pipes", "worker")),
    *(f"tests/attacks/test_{name}.py" for name in ("api", "copying", "entering", "images")),
    *(f"tests/attacks/test_{name}.py" for name in ("inside", "network", "root", "text")),
    "tests/kernel/netplumb",
    "tests/load",
    "tests/chaos",
    "tests/kernel/test_dockerd_bench.py",
    "tests/api/test_web_browser.py",
)


def host_command(results: Path) -> list[str]:
    """Everything but what is for the guest alone, or for `make bench`."""
    return [
        *PYTEST,
        *("--limit-skips=host", "--numprocesses=2", "--dist=loadfile"),
        "--no-loadscope-reorder",  # the long files are the first ones
        *reports(results, "host"),
    ]


def guest_command(results: Path) -> list[str]:
    """What touches the kernel, where there is cgroup v2 alone."""
    return [
        *(sys.executable, str(ROOT / "tests/guest/run.py")),
        *("--timeout", str(GUEST_SECONDS), "--mem", "3G", "--disk", "1G"),
        *("--directory", str(ROOT), "--rw", str(results), "--"),
        *(*PYTEST, "-m", "guest or cgroup or kernel", "--limit-skips=guest"),
        *(f"--ignore={path}" for path in ("tests/unit", *SAME_EVERYWHERE)),
        *reports(results, "guest"),
    ]


def reports(results: Path, name: str) -> list[str]:
    """Options: where a run writes what became of each test."""
    return [f"--junitxml={results}/{name}.xml", "-o", f"cache_dir={results}/{name}"]


def again(name: str, results: Path, tests: Sequence[str]) -> list[str]:
    """Run `name` with these tests alone, one after the other."""
    command = [word for word in COMMANDS[name](results) if not word.startswith(AT_ONCE)]
    return [*command, f"--junitxml={results}/{name}-again.xml", *tests]


COMMANDS = {"host": host_command, "guest": guest_command}


def cases(report: Path) -> list[ET.Element]:
    """What a run wrote of each test; nothing where there is no report."""
    if not report.exists():
        return []
    return list(ET.parse(report).iter("testcase"))  # noqa: S314 - our own pytest wrote it


def counts(report: Path) -> Counter[str]:
    """How many tests passed, failed, skipped, had errors; nothing where there is no report.

    A test that failed and whose clean-up then failed, too, stands in the report twice: it failed.
    """
    kinds: defaultdict[tuple[str | None, str | None], set[str]] = defaultdict(set)
    for case in cases(report):
        kinds[case.get("classname"), case.get("name")] |= {child.tag for child in case}
    result: Counter[str] = Counter()
    words = {"failure": "failed", "error": "errors", "skipped": "skipped"}
    for found in kinds.values():
        result[next((words[kind] for kind in words if kind in found), "passed")] += 1
    return result


def closing_line(runs: dict[str, Counter[str]], seconds: float) -> str:
    """All runs together, in the form of pytest's own last line."""
    total = sum(runs.values(), Counter())
    order = ("failed", "errors", "passed", "skipped")
    text = ", ".join(f"{total[word]} {word}" for word in order if total[word]) or "no tests ran"
    parts = ", ".join(f"{name} {sum(found.values())}" for name, found in runs.items())
    return f"==== {text} in {seconds:.2f}s ({parts}) ===="


def run_all(names: Sequence[str], results: Path) -> dict[str, int]:
    """Run all at once, the first on the terminal and the others into files shown after it."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    statuses: dict[str, int] = {}
    try:
        for name in reversed(names):  # the slow boot first
            output = None if name == names[0] else (results / f"{name}.log").open("wb")
            processes[name] = start(COMMANDS[name](results), output)
        for name in names:
            statuses[name] = processes[name].wait()
            if name != names[0]:
                print(f"\n==== in the {name} ====", flush=True)
                sys.stdout.buffer.write((results / f"{name}.log").read_bytes())
                sys.stdout.flush()
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()
    return statuses


def start(command: Sequence[str], output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """One run; `output` None is the terminal."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
    )


def failures(name: str, results: Path) -> list[str]:
    """The tests that failed in a run, as pytest names them; a module that did is none."""
    cache = results / name / "v/cache/lastfailed"
    return (
        [test for test in json.loads(cache.read_text()) if "::" in test] if cache.exists() else []
    )


def run_again(name: str, found: Counter[str], results: Path) -> list[str]:
    """The tests of the run that failed and pass now; [] unless all of a few do."""
    failed = failures(name, results)
    if not 0 < len(failed) == found["failed"] + found["errors"] <= FEW:
        return []
    print(f"\n==== once more, alone: {len(failed)} in the {name} ====", flush=True)
    with start(again(name, results, failed)) as process:
        return failed if process.wait() == 0 else []


def main(names: Sequence[str]) -> int:
    """The exit status: 0 when every run passed."""
    if platform.machine() != "x86_64" and "guest" in names:
        print("no guest here: User-Mode Linux runs on x86_64 only")
        names = [name for name in names if name != "guest"]
    began = time.monotonic()
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    unsteady: list[str] = []
    with tempfile.TemporaryDirectory(prefix="results.", dir=cache) as folder:
        results = Path(folder)
        statuses = run_all(names, results)
        runs = {name: counts(results / f"{name}.xml") for name in names}
        for name, status in statuses.items():
            passed = run_again(name, runs[name], results) if status == TESTS_FAILED else []
            if passed:
                statuses[name] = 0
                runs[name] = Counter(passed=sum(runs[name].values()))
                unsteady += passed
    for name, status in statuses.items():
        if status:
            print(f"the {name} run failed: exit status {status}")
    for test in unsteady:
        print(f"failed at first and passed alone: {test}")
    print(closing_line(runs, time.monotonic() - began))
    return 1 if any(statuses.values()) else 0


if __name__ == "__main__":
    if not sys.argv[1:] or not set(sys.argv[1:]) <= set(COMMANDS):
        sys.exit(f"usage: python -m tests.run {'|'.join(COMMANDS)}…")
    sys.exit(main(sys.argv[1:]))
