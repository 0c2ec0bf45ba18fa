"""R29: many clients do anything to a few names; their history is compared with a model."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

from tests.api.box import eventually
from tests.chaos.history import History, Views
from tests.chaos.listening import listening
from tests.chaos.rig import FULL, Rig, seconds_since, sized
from tests.support.daemon import UnixConnection
from tests.support.pace import limit

Tell = Callable[[str], None]
OPERATIONS = sized("CONFLICTS", 10_000, 60)
CLIENTS = 32 if FULL else 6
NAMES = 20 if FULL else 3
# Where the machine has not the time for all of them.
MOST_SECONDS = sized("CONFLICT_SECONDS", 7200, 600)
ANSWER_SECONDS = 120.0 if FULL else 30.0
# What docker answers to each of them.
ALLOWED = {
    "create": {201, 409},
    "start": {204, 304, 400, 404, 409},  # 400: killed before its program ran
    "stop": {204, 304, 404, 409},
    "kill": {204, 404, 409},
    "pause": {204, 404, 409},
    "unpause": {204, 404, 409},
    "restart": {204, 400, 404, 409},
    "rm": {204, 404, 409},
    "inspect": {200, 404},
}
# It obeys no signal but SIGKILL, which all of these come to, and costs nothing while it runs.
BODY = json.dumps({"Image": "box", "Cmd": ["sleep", "100000"]})


class Client:
    """One connection, on which anything is asked; every answer is looked at."""

    def __init__(self, rig: Rig, seed: int, until: float) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._rig = rig
        self._chance = random.Random(seed)
        self._views = Views()
        self._until = until

    def run(self) -> None:
        """Ask so many times, or until the time is over or there is no answer."""
        with closing(self._connect()) as connection:
            for _ in range(OPERATIONS):
                name = f"fought-{self._chance.randrange(NAMES)}"
                what = self._chance.choice(list(ALLOWED))
                if time.monotonic() > self._until:
                    return
                try:
                    self._ask(connection, what, name)
                except TimeoutError:
                    self.wrong.append(f"{what} {name}: no answer; {self._rig.state(name)}")
                    return

    def _connect(self) -> UnixConnection:
        return UnixConnection(self._rig.daemon.socket, limit(ANSWER_SECONDS))

    def _ask(self, connection: http.client.HTTPConnection, what: str, name: str) -> None:
        path = f"/containers/{name}"
        method, query = {
            "create": ("POST", f"/containers/create?name={name}"),
            "rm": ("DELETE", f"{path}?force=1"),
            "stop": ("POST", f"{path}/stop?t=0"),
            "restart": ("POST", f"{path}/restart?t=0"),
            "inspect": ("GET", f"{path}/json"),
        }.get(what, ("POST", f"{path}/{what}"))
        headers = {"Content-Type": "application/json"}
        connection.request(method, query, BODY if what == "create" else None, headers)
        response = connection.getresponse()
        data = response.read()
        self.answers[f"{what} {response.status}"] += 1
        if response.status not in ALLOWED[what]:
            self.wrong.append(f"{what} {name}: {response.status} {data!r}")
        elif what == "inspect" and response.status == 200:
            self._look(json.loads(data))

    def _look(self, seen: dict[str, Any]) -> None:
        if wrong := self._views.wrong(seen["Id"], seen["State"]):
            self.wrong.append(f"inspect {seen['Name']}: {wrong}")


def test_conflicting_operations(rig: Rig, tell: Tell) -> None:
    """Every answer is one of docker's, every history one that there can be, none hangs."""
    history, began = History(), time.monotonic()
    clients = [Client(rig, seed, began + MOST_SECONDS) for seed in range(CLIENTS)]
    with listening(rig, history.event) as following, ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client.run) for client in clients]:
            done.result()
        took = seconds_since(began)
        rig.remove_all()
        with suppress(AssertionError):  # said below
            eventually(history.all_gone, 60)
        assert following.is_alive(), "the events were not read as fast as they came"
    wrong = [sentence for client in clients for sentence in client.wrong]
    answers = sum((client.answers for client in clients), Counter[str]())
    made, gone = answers["create 201"], history.told["destroy"]
    assert history.all_gone(), history.not_gone()
    assert not wrong, "\n".join(wrong[:50])
    assert not history.wrong, "\n".join(history.wrong[:50])
    assert made == history.told["create"] == gone
    assert answers["rm 204"] <= gone
    count = answers.total()
    refused = sum(number for answer, number in answers.items() if answer[-3] == "4")
    tell(
        f"R29: {count} conflicting operations of {CLIENTS} clients on {NAMES} names, "
        f"{count / took:.0f} a second ({refused} refused; {history.told.total()} events of {made} "
        "containers): 0 illegal states, 0 answers that are none of docker's, 0 that hang"
    )
