"""A headless Chromium that a test looks through, by Chrome's DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol: messages are JSON and end with a zero byte;
the browser reads descriptor 3 and writes descriptor 4. One page has one session.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import places
from tests.support.pace import limit

NAMES = ("chromium-headless-shell", "chromium")
ANSWER_SECONDS = 30.0
END_SECONDS = 20.0
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--disable-features=SpareRendererForSitePerProcess",
    "--remote-debugging-pipe",
)  # fmt: skip
# The browser gets its ends of the pipes as 3 and 4. bash knows descriptors of two digits.
ENDS = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'

Message = dict[str, Any]


class BrowserError(AssertionError):
    """The browser refused a command, did not answer, or a script in a page has failed."""


class Browser:
    """A browser that runs; `pages` are made one after the other."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._unread = b""
        self._number = 0
        self._pages: dict[str, Page] = {}

    def call(self, method: str, session: str = "", **parameters: Any) -> Message:
        """A command's result; meanwhile events reach their pages."""
        self._number += 1
        message: Message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        _write_all(self._writes, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + limit(ANSWER_SECONDS)
        while (answer := self._take(deadline)).get("id") != self._number:
            self._hand_out(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    @contextmanager
    def page(self, *, width: int, height: int = 800, dark: bool = False) -> Iterator[Page]:
        """A page with storage of its own, as wide as that many CSS pixels."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        made = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        target = made["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.look(width=width, height=height, dark=dark)
        try:
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)
            del self._pages[page.session]

    def _hand_out(self, message: Message) -> None:
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.heard(message["method"], message["params"])

    def _take(self, deadline: float) -> Message:
        """The next message."""
        while b"\0" not in self._unread:
            seconds = max(0.0, deadline - time.monotonic())
            if not select.select([self._reads], [], [], seconds)[0]:
                raise BrowserError("the browser does not answer")
            data = os.read(self._reads, 1 << 16)
            if not data:
                raise BrowserError("the browser has ended")
            self._unread += data
        text, _, self._unread = self._unread.partition(b"\0")
        return dict(json.loads(text))


class Page:
    """What a person sees. `asked` are the URLs it asked for; `wrong` is what the console says of
    errors and warnings, failed scripts, and what the Content Security Policy has stopped."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self.session = session
        self.asked: list[str] = []
        self.wrong: list[str] = []

    def call(self, method: str, **parameters: Any) -> Message:
        """A command for this page."""
        return self._browser.call(method, self.session, **parameters)

    def look(self, *, width: int, height: int = 800, dark: bool) -> None:
        """From now on that wide (a phone's below 600), and of that colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go there, and wait until the page and its parts are loaded."""
        answer = self.call("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.until("document.readyState === 'complete'")

    def value(self, script: str) -> Any:
        """What an expression in the page is; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 15.0) -> Any:
        """Wait until an expression is true; its value."""
        deadline = time.monotonic() + limit(seconds)
        while not (value := self.value(script)):
            if time.monotonic() > deadline:
                shown = self.value("document.body.innerText")
                raise BrowserError(f"never true: {script}\nwrong: {self.wrong}\nshown:\n{shown}")
            time.sleep(0.05)
        return value

    def colour(self, x: int, y: int) -> tuple[int, int, int]:
        """Red, green and blue of a pixel as it is drawn."""
        clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
        taken = self.call("Page.captureScreenshot", format="png", clip=clip)
        return _pixel(base64.b64decode(taken["data"]))

    def heard(self, method: str, event: Message) -> None:
        """The browser tells of something in this page."""
        if method == "Network.requestWillBeSent":
            self.asked.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.wrong.append(f"exception: {event['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.wrong.append(f"console: {event['args']}")
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.wrong.append(f"log: {event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.wrong.append(f"dialog: {event['message']}")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window, ended with all its processes."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    assert found, f"none of {', '.join(NAMES)} is installed: tests/setup.sh test installs it"
    with places.short_folder() as profile:
        theirs_reads, writes = _pipe()
        reads, theirs_writes = _pipe()
        command = [
            *("bash", "-c", ENDS, "bash", str(theirs_reads), str(theirs_writes)),
            *(found[0], *OPTIONS, f"--user-data-dir={profile}", "about:blank"),
        ]
        ends = (theirs_reads, theirs_writes)
        log = profile / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "HOME": str(profile)},
            )
        for end in ends:
            os.close(end)
        browser = Browser(reads, writes)
        try:
            browser.call("Browser.getVersion")
            yield browser
        except BrowserError as error:
            if process.poll() is not None:
                error.add_note(Path(log).read_text(errors="replace"))
            raise
        finally:
            for end in (reads, writes):  # with its pipes closed it ends by itself
                os.close(end)
            try:
                process.wait(limit(END_SECONDS))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _pipe() -> tuple[int, int]:
    """Both ends above what the browser's are to be."""
    ends = os.pipe()
    above = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return above[0], above[1]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _pixel(png: bytes) -> tuple[int, int, int]:
    """The only pixel of a picture: whatever its row's filter, there is no neighbour to add."""
    at, packed = 8, b""
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        if kind == b"IDAT":
            packed += png[at + 8 : at + 8 + length]
        at += 12 + length
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue
