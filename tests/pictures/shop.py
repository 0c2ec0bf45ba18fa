"""Containers of a small shop, who use what the boards show, and what happens to them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.api.box import IMAGE, eventually
from tests.api.network_box import NetworkBox, Service
from tests.api.test_prometheus import Sink, block_device
from tests.kernel.netplumb.rig import Outside
from tests.support.registry import Registry

SINK, SOURCE = 9000, 9001
EVERY = 6.0
"""Seconds from one event to the next."""

# `n` goes up and down again: what is seen has a shape.
_WAVE = "i=0; while :; do i=$(( (i+1) % 60 )); n=$(( i < 30 ? i + 5 : 65 - i ));"
_BURN = "j=0; while [ $j -lt $((n*900)) ]; do j=$((j+1)); done;"
_SEND = f"dd if=/dev/zero bs=8k count=$n 2>/dev/null | nc {Outside.OWN4} {SINK};"
_FETCH = f"nc {Outside.OWN4} {SOURCE} </dev/null | head -c $((n*5000)) >/dev/null;"
_WRITE = "dd if=/dev/zero of=/file bs=64k count=$n oflag=direct 2>/dev/null;"
_READ = "dd if=/file of=/dev/null bs=64k iflag=direct 2>/dev/null;"
_HOLD = "dd if=/dev/zero of=/dev/shm/x bs=1M count=$((n*2)) 2>/dev/null;"
_SAY = "echo request $i answered with $n rows;"

SCRIPTS = {
    "shop-api": f"trap 'exit 3' TERM; {_WAVE} {_BURN} {_FETCH} {_SEND} {_WRITE} {_READ} {_SAY}"
    " sleep 0.5; done",
    "shop-web": f"{_WAVE} {_FETCH} {_SEND} {_SEND} {_SAY} sleep 1; done",
    "shop-db": f"{_WAVE} {_WRITE} {_WRITE} {_READ} sleep 1; done",
    "shop-cache": f"{_WAVE} {_HOLD} {_FETCH} sleep 1; done",
    "shop-batch": "while :; do :; done",
    # A process that grows by a megabyte now and then.
    "shop-leaky": "a=$(head -c 1000000 /dev/zero | tr '\\0' a); x=;"
    " while :; do x=$x$a; sleep 3; done",
    "shop-mail": "touch /well; while :; do sleep 40; rm /well; sleep 12; touch /well; done",
}
FLAGS = {
    "shop-api": ("--cpus", "0.25", "-m", "96m", "--pids-limit", "64", "--restart", "always"),
    "shop-web": ("--cpus", "0.3", "-m", "64m", "--network-bandwidth", "20mbit:20mbit"),
    "shop-db": ("--cpus", "0.2", "-m", "128m"),
    "shop-cache": ("-m", "160m", "--shm-size", "128m"),
    "shop-batch": ("--cpus", "0.15",),
    "shop-leaky": ("-m", "40m", "--memory-swap", "40m", "--restart", "always"),
    "shop-mail": ("--health-cmd", "test -e /well", "--health-interval", "5s"),
}  # fmt: skip


class Source(Service):
    """Sends until the other one has had enough."""

    def converse(self, connection: Any, peer: str) -> None:
        piece = bytes(1 << 14)
        for _ in range(1 << 6):
            connection.sendall(piece)


@contextmanager
def open_shop(box: NetworkBox, registry: Registry) -> Iterator[None]:
    """It is busy as long as the block runs."""
    disk = block_device(box.daemon.data_root)
    limits = ("--device-write-bps", f"{disk}:4mb") if disk else ()
    with ExitStack() as stack:
        stack.enter_context(Sink(box.outside, SINK))
        stack.enter_context(Source(box.outside, SOURCE))
        stack.callback(box.remove_all)
        for name, script in SCRIPTS.items():
            image = f"shop/{name.removeprefix('shop-')}:1.4"
            box.docker("tag", IMAGE, image)
            more = limits if name in {"shop-api", "shop-db"} else ()
            box.ok("run", "-d", "--name", name, *FLAGS[name], *more, image, "sh", "-c", script)
        stop = threading.Event()
        thread = threading.Thread(target=_live, args=(box, registry, stop))
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield


def _live(box: NetworkBox, registry: Registry, stop: threading.Event) -> None:
    """One thing after the other happens until `stop`."""
    chance = random.Random(1)
    say: Callable[..., Any] = box.daemon.docker  # whatever its status

    def once(name: str, *command: str) -> None:
        limits = ("-m", "16m", "--memory-swap", "16m")
        say("run", "--rm", "--name", name, *limits, IMAGE, *command)

    things: list[Callable[[], Any]] = [
        lambda: once("shop-cron", "true"),
        lambda: once("shop-report", "sh", "-c", "sleep 1; exit 3"),
        lambda: say("exec", "shop-web", "sh", "-c", "ls / >/dev/null"),
        lambda: once("shop-broken", "/no/program"),
        lambda: say("pause", "shop-batch"),
        lambda: say("unpause", "shop-batch"),
        lambda: say("update", "--cpus", f"{chance.choice((0.1, 0.15, 0.2))}", "shop-batch"),
        lambda: (say("network", "create", "spare"), say("network", "rm", "spare")),
        lambda: once("shop-greedy", "tail", "/dev/zero"),
        lambda: (
            say("rmi", f"{registry.address}/shop/parts:1"),
            say("pull", f"{registry.address}/shop/parts:1"),
        ),
        lambda: say("pull", "127.0.0.1:1/no/image"),
        lambda: say("ps", "--all", "--size"),
    ]
    rare = {
        20: lambda: say("exec", "shop-api", "tail", "/dev/zero"),
        45: lambda: say("exec", "shop-api", "sh", "-c", "kill 1"),
        50: lambda: say("restart", "-t", "0", "shop-web"),
        52: lambda: say("restart", "-t", "0", "shop-api"),
    }
    turn = 0
    while not stop.wait(EVERY):
        turn += 1
        things[turn % len(things)]()
        rare.get(turn, lambda: None)()


def opened(box: NetworkBox) -> None:
    """Wait until all of it runs."""
    for name in SCRIPTS:
        eventually(lambda name=name: box.status(name) == "running", 20)  # type: ignore[misc]
