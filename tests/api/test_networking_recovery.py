"""Networks and crashes: of the supervisor, of containers, of starts. Nothing is lost or left."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.box import FOREVER, IMAGE, eventually
from tests.api.network_box import (
    SPARE_SANDBOXES,
    Footprint,
    NetworkBox,
    Service,
    ask,
    dig,
)
from tests.kernel.netplumb.rig import Outside
from tests.support import procfs
from tests.support.copies import are_copied
from tests.support.pace import IN_GUEST

pytestmark = pytest.mark.feature("bridge", "veth", "nftables")

HOST4 = "10.9.0.1"
LOOPBACK = "127.0.0.1"
STORM = 8 if IN_GUEST else 30
ROUNDS = 2 if IN_GUEST else 5
SEED = 20261121


@pytest.fixture
def mortal(new_net: Callable[..., NetworkBox]) -> Iterator[NetworkBox]:
    """A daemon with networks that the test may kill, at rest."""
    box = new_net()
    at_rest(box)
    yield box
    box.remove_all()


def at_rest(box: NetworkBox, pairs: int = 0) -> None:
    """Until it has its spare sandboxes, beside the pairs of containers."""
    eventually(lambda: Footprint.take(box).links["a pair"] == SPARE_SANDBOXES + pairs)


def crash(box: NetworkBox) -> None:
    """The supervisor is killed and started again."""
    box.daemon.kill()
    box.daemon.start()


def crash_without_database(box: NetworkBox) -> None:
    """And the database is gone: containers and networks are found again in their copies."""
    eventually(lambda: are_copied(box.daemon.data_root))
    box.daemon.kill()
    for path in box.daemon.data_root.glob("orlop.db*"):
        path.unlink()
    box.daemon.start()


def inside_address(box: NetworkBox, ref: str, interface: str = "eth0") -> str:
    """A container's address as its own kernel has it, whatever the supervisor believes."""
    words = box.space(ref).run("ip", "-4", "-o", "addr", "show", interface).stdout.split()
    return words[words.index("inet") + 1].partition("/")[0]


def descriptors(box: NetworkBox) -> int:
    """How many the supervisor has."""
    return box.daemon.open_files()


# --- what lives goes on


def test_ports_and_names_answer_again(mortal: NetworkBox) -> None:
    box = mortal
    net = box.network()
    web = box.up("-p", "8080:80", "-p", "53:80/udp", "-p", f"{LOOPBACK}:9090:80")
    one, two = box.up("--network", net, "-p", "8081:80"), box.up("--network", net)
    box.docker("network", "connect", "--alias", "second", net, web)
    ports = box.inspect(web)["NetworkSettings"]["Ports"]
    places = [box.endpoint(web), box.endpoint(web, net), box.endpoint(one, net)]
    with Service(box.space(web)), Service(box.space(one)):
        for crashed in (crash, crash_without_database, None):
            assert ask(box.outside, HOST4, 8080) == Outside.OWN4
            assert ask(box.outside, HOST4, 53, "udp") == Outside.OWN4
            assert ask(box.outside, HOST4, 8081) == Outside.OWN4
            assert ask(box.host, LOOPBACK, 9090) is not None
            assert ask(box.host, LOOPBACK, 8080) is not None
            for name in (one, "second", one[:12]):
                assert dig(box.space(two), name).records, name
            if crashed is not None:
                crashed(box)
    assert box.inspect(web)["NetworkSettings"]["Ports"] == ports
    assert [box.endpoint(web), box.endpoint(web, net), box.endpoint(one, net)] == places


def test_a_copy_that_a_kill_came_before_is_made_up(mortal: NetworkBox) -> None:
    """A copy follows its row by a second; the next supervisor does not wait for a change."""
    box = mortal
    name = box.up()
    eventually(lambda: are_copied(box.daemon.data_root))
    assert box.daemon.request("POST", f"/containers/{name}/rename?name={name}-too")[0] == 204
    crash(box)
    eventually(lambda: are_copied(box.daemon.data_root))


def test_a_port_is_still_reserved(mortal: NetworkBox) -> None:
    web = mortal.up("-p", "8080:80")
    crash(mortal)
    assert f"port is already allocated by container {web}" in mortal.refused(
        "run", "--rm", "-p", "8080:80", IMAGE, "true"
    )


def test_a_container_with_its_own_users_goes_on(mortal: NetworkBox) -> None:
    box = mortal.ok(
        *("run", "-d", "--userns", "private:100000:65536", "-p", "8080:80", IMAGE, *FOREVER)
    )
    crash(mortal)
    with Service(mortal.space(box)):
        assert ask(mortal.outside, HOST4, 8080) == Outside.OWN4


def test_strangers_are_still_not_forwarded(mortal: NetworkBox) -> None:
    ours = "IPv4 is forwarded for our networks only"
    assert mortal.machine.forwarding()[0] == "1"
    assert ours in mortal.nft("list", "ruleset")
    crash(mortal)
    assert ours in mortal.nft("list", "ruleset")


def test_a_pair_that_was_removed_meanwhile_is_made_again(mortal: NetworkBox) -> None:
    box = mortal.up("-p", "8080:80")
    space = mortal.space(box)
    mortal.daemon.kill()
    pair = space.run("ip", "-o", "link", "show", "eth0").stdout
    index = pair.split("@if")[1].partition(":")[0]
    names = mortal.host.run("ip", "-o", "link").stdout.splitlines()
    (port,) = [line.split()[1].partition("@")[0] for line in names if line.startswith(f"{index}: ")]
    assert mortal.host.run("ip", "link", "del", port).returncode == 0
    mortal.daemon.start()
    with Service(mortal.space(box)):
        assert ask(mortal.outside, HOST4, 8080) == Outside.OWN4


# --- what ended goes


def test_what_died_meanwhile_leaves_nothing(mortal: NetworkBox) -> None:
    box = mortal
    before = Footprint.take(box)
    net = box.network()
    lives = box.up("--network", net)
    dead = [box.up("--network", net, "-p", f"{8080 + n}:80") for n in range(3)] + [box.up()]
    pids = [box.state(ref)["Pid"] for ref in dead]
    box.daemon.kill()
    for number, pid in enumerate(pids):  # some with their shims, of which nobody hears then
        os.kill(procfs.parent(pid) if number % 2 else pid, signal.SIGKILL)
    box.daemon.start()
    for ref in dead:
        assert box.status(ref) == "exited"
        assert box.inspect(ref)["NetworkSettings"]["IPAddress"] == ""
        assert not dig(box.space(lives), ref).records
    again = box.up("-p", "8080:80", "-p", "8081:80", "-p", "8082:80")
    assert box.host_port(again) == 8080
    box.remove_all()
    box.settle(before)


def test_spare_sandboxes_of_a_crash_go(mortal: NetworkBox) -> None:
    before = Footprint.take(mortal)
    for _ in range(3):
        crash(mortal)
    mortal.settle(before)


def test_a_storm_of_kills_leaves_nothing(mortal: NetworkBox) -> None:
    box, chance = mortal, random.Random(SEED)
    net = box.network()
    before = Footprint.take(box)
    flags = [("-P", "--expose", "80"), ("--network", net, "-P", "--expose", "80/udp"), ()]
    with ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(lambda n: box.up(*flags[n % 3], name=f"storm{n}"), range(STORM)))
        pids = [box.state(ref)["Pid"] for ref in refs]
        chance.shuffle(pids)
        for pid in pids[: STORM // 2]:
            os.kill(pid, signal.SIGKILL)
        box.daemon.kill()  # right in the middle of it
        for pid in pids[STORM // 2 :]:
            os.kill(pid, signal.SIGKILL)
        box.daemon.start()
        eventually(lambda: {box.status(ref) for ref in refs} == {"exited"})
    box.settle(before)


def test_starts_that_fail_leave_nothing(mortal: NetworkBox) -> None:
    box = mortal
    net = box.network()
    box.run("--network", net, script="true")  # the first one starts the name server's thread
    web = box.up("-p", "8080:80")
    at_rest(box, 1)
    before, held = Footprint.take(box), descriptors(box)
    for flags in (
        ("-p", "8081:80", "-p", "8080:80"),  # the second one is taken
        ("--network", net, "-p", "8080:80"),
    ):
        assert f"allocated by container {web}" in box.orlop("run", *flags, IMAGE, "true").stderr
    assert box.orlop("run", IMAGE, "no-such-program").returncode == 127
    assert box.orlop("run", "--network", net, IMAGE, "no-such-program").returncode == 127
    box.settle(before)
    eventually(lambda: descriptors(box) <= held)


def test_no_descriptor_stays_of_a_run(mortal: NetworkBox) -> None:
    box = mortal
    net = box.network()
    flags = [(), ("--network", net), ("-p", "8080:80"), ("--userns", "private:100000:65536")]
    for one in flags:
        box.run(*one, script="true")
    at_rest(box)
    held = descriptors(box)
    for one in flags * 2:
        assert box.run(*one, script="true").returncode == 0
    at_rest(box)
    eventually(lambda: descriptors(box) <= held)


# --- addresses


def test_no_address_is_given_twice(mortal: NetworkBox) -> None:
    """Starts go on while the supervisor is killed, again and again."""
    box, chance = mortal, random.Random(SEED)
    net = box.network()

    def start(number: int) -> None:
        network = ("--network", net) if number % 2 else ()
        box.daemon.docker("run", "-d", "--name", f"twice{number}", *network, IMAGE, *FOREVER)

    number = 0
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(4) as pool:
            for _ in range(8):
                number += 1
                pool.submit(start, number)
            enough = len(box.ids()) + chance.randrange(1, 8)
            eventually(lambda: len(box.ids()) >= enough)  # noqa: B023 # it is called at once
            box.daemon.kill()
        box.daemon.start()
    running = [ref for ref in box.ids() if box.status(ref) == "running"]
    addresses = [inside_address(box, ref) for ref in running]
    assert len(addresses) > ROUNDS
    assert len(set(addresses)) == len(addresses)
    told = [
        one["IPAddress"]
        for ref in running
        for one in box.inspect(ref)["NetworkSettings"]["Networks"].values()
    ]
    assert sorted(told) == sorted(addresses)


# --- again


def test_a_restart_by_policy_gets_a_network_anew(mortal: NetworkBox) -> None:
    box = mortal.up("--restart", "always", "-p", "8080:80")
    first = mortal.state(box)["Pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: mortal.state(box)["Pid"] not in (0, first))
    with Service(mortal.space(box)):
        assert ask(mortal.outside, HOST4, 8080) == Outside.OWN4


def test_a_network_of_a_stopped_donor_goes_from_who_shares_it(mortal: NetworkBox) -> None:
    before = Footprint.take(mortal)
    donor = mortal.up()
    sharer = mortal.up("--network", f"container:{donor}")
    assert "eth0" in mortal.inside(sharer, "ip", "link")
    mortal.docker("rm", "-f", donor)
    eventually(lambda: "eth0" not in mortal.inside(sharer, "ip", "link"))
    mortal.settle(before)


def test_a_daemon_that_stops_leaves_its_containers_their_network(mortal: NetworkBox) -> None:
    web = mortal.up("-p", "8080:80")
    with Service(mortal.space(web)):
        assert mortal.daemon.stop() == 0
        assert ask(mortal.outside, HOST4, 8080) == Outside.OWN4  # the firewall does that
        mortal.daemon.start()
        assert ask(mortal.outside, HOST4, 8080) == Outside.OWN4
        assert ask(mortal.host, LOOPBACK, 8080) is not None
