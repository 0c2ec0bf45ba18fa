"""The page for people as a browser shows it: live, in both schemes, at a phone's width, unharmed.

Headless Chromium looks at a real daemon's page, and at one whose containers are called what no
daemon would let them be called.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from metrics.history import Point
from metrics.model import Container, End, Limits
from metrics.parse.figures import Cpu, Figures, Memory, Pressure, Tasks
from metrics.render import live
from metrics.render.live import Live
from metrics.render.snapshot import Machine
from metrics.serve import address
from metrics.serve.server import Server
from metrics.serve.web import Web
from tests.api.box import IMAGE, Box, eventually
from tests.support.browser import Browser, BrowserError, Page, running_browser
from tests.support.daemon import Daemon, running_daemon

PHONE, DESK = 360, 1280
LIGHT, DARK = "rgb(245, 246, 248)", "rgb(16, 18, 22)"
HOSTILE = "</td></script><img src=x onerror='window.harmed = 1'><b>{{1}}</b>&lt;i&gt;"
BUSY = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; while :; do :; done"
ENOUGH_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3
DELIVERY_SECONDS = 15.0

# What is written where: the row of a container by its name, and whether an event was told.
ROW = (
    "[...document.querySelectorAll('tr.container')]"
    ".find(row => row.querySelector('.name').textContent === %s)"
)
EVENT = (
    "[...document.querySelectorAll('#events li')].some(event => "
    "event.querySelector('b').textContent === %s && event.innerText.includes(%s))"
)
NAMES = "[...document.querySelectorAll('tr.container .name')].map(name => name.textContent)"
# Points of a line that is seen: it has an area, a colour, and more than two points.
DRAWN = """(row => [...row.querySelectorAll('svg.spark')].map(svg => {
  const line = svg.querySelector('.line'), box = svg.getBoundingClientRect();
  const shown = box.width > 50 && box.height > 10 && getComputedStyle(line).stroke !== 'none';
  return shown ? (line.getAttribute('d') || '').split('L').length : 0;
}))(%s)"""
# Whatever reaches over the right edge; and whether the page as a whole could be pushed sideways.
TOO_WIDE = """[...(document.documentElement.scrollWidth > innerWidth ? ['the page'] : []),
  ...[...document.querySelectorAll('body *')].filter(node => node.checkVisibility()
    && node.getBoundingClientRect().right > innerWidth + 1).map(n => n.outerHTML.slice(0, 200))]"""
# Every text that is seen with what it stands on, and their contrast (WCAG's relative luminance).
FAINT = """(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => parts(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (parts(colour)[3] !== 0) return colour; } };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(c => c.nodeType === 3 && c.data.trim());
    if (!own || !node.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.outerHTML.slice(0, 120)]);
  }
  return found.length > 5 ? found.filter(([ratio]) => ratio < %f) : ['nothing is shown'];
})()"""


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser of the test's own, all of whose processes end with it."""
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon with metrics at a free port."""
    with running_daemon(("--metrics-addr", "127.0.0.1:0")) as daemon:
        yield daemon


def row(name: str) -> str:
    """The row of a container, in the page's language."""
    return ROW % json.dumps(name)


def event(name: str, words: str) -> str:
    """Whether the list of events says that."""
    return EVENT % (json.dumps(name), json.dumps(words))


def looks_right(page: Page, address: str) -> None:
    """In both schemes and widths all is in sight and easy to read, and nobody else was asked."""
    for width in (PHONE, DESK):
        for dark in (False, True):
            page.look(width=width, dark=dark)
            page.until(f"innerWidth === {width}")
            assert page.value(TOO_WIDE) == []
            ground = page.value("getComputedStyle(document.body).backgroundColor")
            assert ground == (DARK if dark else LIGHT)
            drawn = page.colour(2, 2)
            assert f"rgb{drawn}" == ground
            assert page.value(FAINT % ENOUGH_CONTRAST) == []
    assert {urlsplit(url).netloc for url in page.asked} == {address}
    assert page.wrong == []


# --- a real daemon ------------------------------------------------------------------------------


def address_of(daemon: Daemon) -> str:
    """Where its page is."""
    return str(re.findall(r"metrics at (127\.0\.0\.1:\d+)$", daemon.log, re.MULTILINE)[-1])


def test_containers_live_before_ones_eyes(box: Box, browser: Browser) -> None:
    with browser.page(width=PHONE) as page:
        here = address_of(box.daemon)
        page.open(f"http://{here}/")
        page.until("document.getElementById('link').className === 'live'")
        page.value("window.kept = true")  # all that follows happens without another load
        note = ("--label", f"note={HOSTILE}", "--env", f"NOTE={HOSTILE}")
        limits = ("--cpus", "0.2", "-m", "100m")
        box.start("--name", "busy", *limits, *note, script=f'echo "$NOTE"; {BUSY}')
        page.until(f"{row('busy')}?.querySelector('.badge').textContent === 'running'")
        page.until(event("busy", "start"))
        page.until(f"{DRAWN % row('busy')}.slice(0, 2).every(points => points > 2)")
        page.until(f"{row('busy')}.innerText.includes('throttled')")
        text = page.value(f"{row('busy')}.innerText")
        assert "of 20 %" in text or "throttled" in text
        assert "of 100 MiB" in text
        assert IMAGE in text

        small = ("-m", "16m", "--memory-swap", "16m")
        box.start("--name", "greedy", *small, script="exec tail /dev/zero")
        failed = box.orlop("run", "-d", "--name", "wrong", *note, IMAGE, f"/no/{HOSTILE}")
        assert failed.returncode == 127
        page.until(f"{row('greedy')}?.innerText.includes('out of memory')")
        page.until(f"{row('wrong')}?.innerText.includes('could not start, exit code 127')")
        page.until(event("greedy", "out of memory"))
        assert page.value(f"{row('greedy')}.querySelector('.badge').className") == "badge bad"
        looks_right(page, here)
        box.ok("rename", "greedy", "eater")
        page.until(event("eater", "renamed from greedy"))
        box.ok("rm", "-f", "busy", "eater", "wrong")
        page.until("!document.querySelector('tr.container')")
        page.until(event("busy", "died, exit code 137"))
        page.until(event("busy", "destroy"))
        assert page.value("window.kept && !window.harmed")
        assert "onerror" not in page.value("document.body.textContent")  # told to nobody
        assert page.wrong == []


# --- one that says what it likes ----------------------------------------------------------------


class Stage:
    """A server of metrics whose containers and events are the test's; in a thread of its own."""

    def __init__(self) -> None:
        self.containers: list[Live] = []
        self.address = ""
        self._events: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()

    def tell(self, action: str, **fields: Any) -> None:
        """Something has happened."""
        event = {"type": "container", "id": "c" * 64, "name": HOSTILE, **fields}
        self._events.append({"time_ns": time.time_ns(), "action": action, **event})

    async def _live(self, history: bool) -> Iterator[bytes]:
        machine = Machine(cpus=4, memory=8 << 30)
        return live.pages(self.containers, machine, at=time.time(), history=history)

    async def _follow(self, _since: int | None) -> AsyncGenerator[dict[str, Any], None]:
        told = 0
        while True:
            for event in self._events[told:]:
                told += 1
                yield event
            await trio.sleep(0.02)

    async def _scrape(self, _scraper: str, _openmetrics: bool) -> Iterator[bytes]:
        return iter(())

    async def _run(self, port: int) -> None:
        listeners = await address.listen(address.parse(f"127.0.0.1:{port}"))
        self.address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        web = Web(clock=trio.current_time)
        server = Server(self._scrape, web, live=self._live, events=self._follow)
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(server.serve, listeners))
                self._ready.set()
        for listener in listeners:
            await listener.aclose()

    @contextmanager
    def open(self, port: int = 0) -> Iterator[None]:
        """Serve while the block runs."""
        self._ready.clear()
        self._scope = trio.CancelScope()
        thread = threading.Thread(target=trio.run, args=(self._run, port))
        thread.start()
        try:
            assert self._ready.wait(DELIVERY_SECONDS)
            yield
        finally:
            self._token.run_sync_soon(self._scope.cancel)
            thread.join()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    with stage.open():
        yield stage


def shown(number: int, name: str, **changes: Any) -> Live:
    """A container that has run for a minute."""
    limits = Limits(memory=1 << 20, cpu_quota=50_000)
    described = Container(id=f"{number:064}", name=name, image=name, cgroup="/c", limits=limits)
    now = time.time()
    points = [
        Point(now - 60 + i, 0, i * 300_000, 0, i << 14, 0, 0, i * 900, i * 90) for i in range(60)
    ]
    figures = Figures(
        cpu=Cpu(1, periods=7, throttled_periods=2),
        memory=Memory(2, 1 << 19, {}),
        tasks=Tasks(4, 2),
        pressure=Pressure(1, 0, 1, 0, 1, 0),
    )
    made = Live(described, "running", 1, now - 90, 3, 1, None, figures, points)
    return made._replace(**changes)


def test_hostile_words_stay_words(stage: Stage, browser: Browser) -> None:
    end = End(3, HOSTILE, at=time.time())
    long = "W" * 300
    stage.containers = [
        shown(1, HOSTILE),
        shown(2, HOSTILE, state=HOSTILE, figures=None, end=end, points=[]),
        shown(3, long, end=End(1, long)),
    ]
    with browser.page(width=PHONE) as page:
        page.open(f"http://{stage.address}/")
        page.until("document.querySelectorAll('tr.container').length === 3")
        stage.tell(HOSTILE)
        stage.tell("die", exitCode=HOSTILE)
        stage.tell("kill", signal=HOSTILE, name=long)
        stage.tell("rename", oldName=HOSTILE)
        stage.tell("create", type=HOSTILE, id=HOSTILE, name="")
        page.until("document.querySelectorAll('#events li').length === 5")
        page.until(f"{row(HOSTILE)} !== undefined")
        assert page.value("document.body.textContent").count(HOSTILE) >= 8
        found = "[...document.querySelectorAll('main img, main b, main i, main script')]"
        tags = page.value(f"{found}.map(n => n.parentElement.localName + '>' + n.localName)")
        assert set(tags) == {"span>b"}  # the names in the list of events
        assert page.value("window.harmed") is None
        looks_right(page, stage.address)


def test_the_browser_lets_the_page_do_nothing_else(stage: Stage, browser: Browser) -> None:
    """So the other tests' empty lists say something."""
    with browser.page(width=DESK) as page:
        page.open(f"http://{stage.address}/")
        for script in (
            "document.body.innerHTML = '<p>'",
            "eval('1')",
            "fetch('http://127.0.0.1:9/')",
            "document.write('x')",
        ):
            before = len(page.wrong)
            with pytest.raises(BrowserError):
                page.value(script)
            eventually(partial(told_more, page, before))
        before = len(page.wrong)
        page.value(
            "document.body.append(Object.assign(document.createElement('img'), "
            "{src: 'http://127.0.0.1:9/x.png'}))"
        )
        eventually(partial(told_more, page, before))
        assert all("Content Security Policy" in text or "Trusted" in text for text in page.wrong)


def told_more(page: Page, before: int) -> bool:
    """What the browser has complained of is more than that; asking lets it speak."""
    page.value("1")
    return len(page.wrong) > before


def test_hundreds_can_be_sorted_and_filtered(stage: Stage, browser: Browser) -> None:
    used = {7: 4 << 30, 70: 3 << 30}
    stage.containers = [
        shown(n, f"box-{n}", figures=Figures(memory=Memory(2, used.get(n, n), {})))
        for n in range(320)
    ]
    with browser.page(width=DESK) as page:
        page.open(f"http://{stage.address}/")
        page.until(f"{NAMES}.length === 300")
        assert page.value("document.getElementById('nothing').innerText").startswith("20 more")
        page.value("document.querySelector('[data-sort=memory]').click()")
        assert page.value(NAMES)[:3] == ["box-7", "box-70", "box-319"]
        page.value("document.getElementById('filter').focus()")
        page.call("Input.insertText", text="BOX-31")
        assert page.value(NAMES) == [f"box-{n}" for n in (*range(319, 309, -1), 31)]
        assert page.value("document.getElementById('nothing').hidden")
        assert page.wrong == []


def test_a_server_that_goes_is_missed_and_found_again(stage: Stage, browser: Browser) -> None:
    stage.containers = [shown(1, "one")]
    link = "document.getElementById('link').innerText"
    gone = Stage()
    with browser.page(width=DESK) as page:
        with gone.open():
            gone.containers = [shown(2, "two")]
            port = int(gone.address.rpartition(":")[2])
            page.open(f"http://{gone.address}/")
            page.until(f"{link} === 'live' && {row('two')} !== undefined")
        page.until(f"{link}.startsWith('no answer')")
        assert page.value(f"{row('two')} !== undefined")  # what was known is not thrown away
        with gone.open(port):
            page.until(f"{link} === 'live'")
            gone.tell("start", name="two")
            page.until(event("two", "start"))
        assert all("ERR_" in text for text in page.wrong), page.wrong  # that nobody answered
