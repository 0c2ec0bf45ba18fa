"""Networks: who finds whom, and who does not."""

from __future__ import annotations

import time

from supervisor.kernel.probe import probe
from tests.api.network_box import page
from tests.demo.stage import IMAGE, Stage
from tests.support.pace import limit

NEEDED = ("bridge", "veth", "nftables", "nftables-bridge")
HELLO = "hello from web"
PAGE = f"echo {HELLO} > /index.html; exec httpd -f -h /"


def lacking() -> str:
    """What this kernel lacks for networks of containers; "" when it has it all."""
    return ", ".join(f.name for f in probe() if f.name in NEEDED and f.status != "ok")


def names_and_ports(stage: Stage) -> None:
    """Two networks, a name, a published port."""
    stage.chapter(
        "Networks",
        "Containers of one network find each other by name; those of another network reach "
        "neither. A published port answers on the host's loopback, too. (The host is a network "
        "namespace made for this demonstration: nothing changes on this machine.)",
    )
    if lacking():
        stage.note(f"not on this kernel, which lacks {lacking()}")
        return
    before = bridges(stage)
    for name in ("front", "back"):
        stage.orlop("network", "create", name)
    stage.check("each has a bridge", len(bridges(stage) - before) == 2)
    web = ("run", "-d", "--name", "web", "--network", "front", "-p", "8080:80", IMAGE)
    stage.orlop(*web, "sh", "-c", PAGE)
    ask = "for try in 1 2 3 4 5; do wget -qO- http://web/ && break; sleep 0.2; done"
    stage.check(
        "its neighbour finds it by name", stage.run("--network", "front", ask) == f"{HELLO}\n"
    )
    stage.check("the host finds it at 127.0.0.1:8080", fetched(stage) == f"{HELLO}\n")
    ends = stage.inspect("web")["NetworkSettings"]["Networks"]
    address = ends["front"]["IPAddress"]
    for host in ("web", address):
        text = stage.run(
            "--network", "back", f"timeout 1 wget -qO- http://{host}/ 2>&1 || echo no answer"
        )
        stage.check(f"from the other network {host} is out of reach", HELLO not in text)
    stage.remove("web")
    stage.orlop("network", "rm", "front", "back")
    stage.check("their bridges have gone", bridges(stage) == before)


def bridges(stage: Stage) -> set[str]:
    """The bridges of the host that are ours."""
    return {name for name in stage.machine.host.links() if name.startswith("ol-")}


def fetched(stage: Stage) -> str:
    """The page, as a program of the host gets it by the loopback."""
    deadline = time.monotonic() + limit(5)
    while True:
        try:
            return page(stage.machine.host, "127.0.0.1", 8080)
        except OSError as error:
            if time.monotonic() > deadline:
                return str(error)
            time.sleep(0.05)
