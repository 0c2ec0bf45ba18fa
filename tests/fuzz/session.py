"""A long run of one target, in a process of its own: guided by coverage where atheris is there.

parent ──► python -m tests.fuzz --child NAME   atheris (libFuzzer), or `mutation` alone
       ◄── inputs, seconds, memory; or the input that broke it, and the traceback
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import targets
from tests.fuzz.loop import PATIENCE, WARM, feed_all

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / ".cache" / "fuzz"
"""Inputs that reached something new, by target: the next run begins with them."""
SEED = 20261121
MOST_MEMORY = 2048
"""MiB that a target's process may come to have, with all inputs it keeps."""
MOST_GROWTH = 16
"""MiB that a million inputs may add, once the first ten thousand are through."""

_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a child says at its end; `memory` and `grown` in MiB (guided: the corpus grows)."""

    guided: bool
    inputs: int
    seconds: float
    memory: int
    grown: int
    broke: bool
    said: str

    def line(self, name: str) -> str:
        """One line for people."""
        how = "guided" if self.guided else "plain"
        rate = self.inputs / self.seconds if self.seconds else 0.0
        end = "BROKE" if self.broke else "ok"
        return (
            f"{name:<10} {self.inputs:>9} inputs {self.seconds:>7.0f} s {rate:>7.0f}/s "
            f"{self.memory:>5} MiB, grown by {self.grown}  {how}  {end}"
        )


def is_guided() -> bool:
    """Whether runs are guided by coverage: atheris is installed (`pip install '.[fuzz]'`)."""
    return importlib.util.find_spec("atheris") is not None


def run(
    name: str, inputs: int, *, seconds: float = 0.0, seed: int = SEED, plain: bool = False
) -> tuple[str, bool]:
    """Feed a target, for at most `seconds` (0: however long); (a line, whether it broke)."""
    guided = is_guided() and not plain
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        task = {
            "name": name,
            "inputs": inputs,
            "seconds": seconds,
            "seed": seed,
            "guided": guided,
            "corpus": str(corpus),
            "folder": folder,
        }
        begun = time.monotonic()
        child = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", "--child", json.dumps(task)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        taken = time.monotonic() - begun
    said = child.stderr + child.stdout
    outcome = _outcome(said, guided=guided, seconds=taken, broke=child.returncode != 0)
    line = outcome.line(name)
    if outcome.broke:
        told = [text for text in said.splitlines() if not text.startswith(("INFO", "WARNING"))]
        line += "\n" + "\n".join(told[-60:])
    return line, outcome.broke


def _outcome(said: str, *, guided: bool, seconds: float, broke: bool) -> Outcome:
    found = {name: int(number) for name, number in _STATISTIC.findall(said)}
    done = _DONE.search(said)
    return Outcome(
        guided=guided,
        inputs=found.get("number_of_executed_units", int(done[1]) if done else 0),
        seconds=seconds,
        memory=found.get("peak_rss_mb", 0),
        grown=found.get("grown_mb", 0),
        broke=broke,
        said=said,
    )


def child(task: str) -> None:
    """What runs in the child: the target of a task (JSON), to its end."""
    asked = json.loads(task)
    if asked["guided"]:
        _guided(asked)
    else:
        _plain(asked)


def _plain(asked: dict[str, object]) -> None:
    seconds = float(str(asked["seconds"])) or float("inf")
    target = targets.load(str(asked["name"]))
    ran = feed_all(target, int(str(asked["inputs"])), int(str(asked["seed"])), seconds)
    peak, grown = ran.peak >> 10, ran.grown >> 10
    print(f"stat::number_of_executed_units: {ran.inputs}")
    print(f"stat::peak_rss_mb: {peak}")
    print(f"stat::grown_mb: {grown}")
    print(f"slowest: {ran.slowest:.3f} s for {ran.slowest_input!r:.200}")
    if peak > MOST_MEMORY:
        sys.exit(f"it took {peak} MiB of memory; {MOST_MEMORY} are the most")
    if grown > MOST_GROWTH:
        sys.exit(f"it grew by {grown} MiB since its {WARM}th input; {MOST_GROWTH} are the most")


def _guided(asked: dict[str, object]) -> None:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["supervisor", "netplumb"]):
        target = targets.load(str(asked["name"]))
    folder = Path(str(asked["folder"]))
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, data in enumerate(target.seeds):
        (seeds / f"{number:04}").write_bytes(data)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    corpus = Path(str(asked["corpus"]))
    arguments = [
        *("orlop-fuzz", str(corpus), str(seeds), f"-dict={words}"),
        *(f"-runs={asked['inputs']}", f"-max_len={target.longest}", f"-seed={asked['seed']}"),
        *(f"-timeout={int(PATIENCE)}", f"-rss_limit_mb={MOST_MEMORY}", "-print_final_stats=1"),
        *(f"-artifact_prefix={corpus.parent}/{target.name}-", "-verbosity=0"),
    ]
    if asked["seconds"]:
        arguments.append(f"-max_total_time={int(float(str(asked['seconds'])))}")
    atheris.Setup(arguments, target.run)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
