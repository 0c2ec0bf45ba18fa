"""One container: what it uses and waits for, the last minute of that, its log, a command in it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.screen import Screen
from textual.widgets import Input, RichLog, Static

from supervisor.cli.failures import Failure
from supervisor.cli.listing import printable
from supervisor.cli.tui import cells
from supervisor.cli.tui.feed import Daemon, Following, Logged
from supervisor.cli.usage import Answer, Usage

HELP = {"e": "run a command in it", "↑ ↓": "the log", "esc": "back", "q": "quit"}
IN_FIELD = {"⏎": "run it on this terminal", "esc": "leave"}
PANELS = (
    ("cpu", "green"),
    ("memory", "green"),
    ("cpu_wait", "yellow"),
    ("memory_wait", "yellow"),
    ("io_wait", "yellow"),
    ("disks", "blue"),
    ("received", "cyan"),
    ("transmitted", "cyan"),
)
WIDE = 120
"""Columns from which on there are four panels beside each other."""
MOST_LINES = 10_000


class Detail(Screen[None]):
    """Its log begins when it is shown, and ends with it."""

    CSS = """
    #name { height: 1; background: $primary; color: $text; text-style: bold; padding: 0 1; }
    #about { height: 1; color: $text-muted; padding: 0 1; }
    #panels { height: auto; grid-size: 2; grid-rows: 2; grid-gutter: 0 2; padding: 0 1; }
    #panels.wide { grid-size: 4; }
    #log { height: 1fr; border-top: solid $primary; scrollbar-size-vertical: 1; }
    #command { height: 1; border: none; padding: 0 1; display: none; background: $boost; }
    #help { height: 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", show=False),
        Binding("e", "command", show=False),
    ]

    def __init__(self, daemon: Daemon, row: Usage, answer: Answer) -> None:
        super().__init__()
        self._daemon = daemon
        self._container = row.name
        self._row: Usage | None = row
        self._answer = answer
        self._following = Following(daemon, row.name, self.post_message)

    def compose(self) -> ComposeResult:
        """Name, figures, log, keys."""
        yield Static(printable(self._container), id="name", markup=False)
        yield Static(id="about", markup=False)
        with Grid(id="panels"):
            for key, _ in PANELS:
                yield Static(id=key)
        yield RichLog(id="log", max_lines=MOST_LINES, markup=False, highlight=False, wrap=True)
        yield Input("sh", id="command", placeholder="a command and its words", compact=True)
        yield Static(cells.keys(HELP), id="help")

    def on_mount(self) -> None:
        """Show what is known, and the log."""
        self._show()
        self.query_one("#log").focus()
        self._following.start()

    def on_unmount(self) -> None:
        """Its log is of no more use."""
        self._following.stop()

    def update_from(self, rows: Sequence[Usage], answer: Answer) -> None:
        """What it uses now; where it does not run any more, how it ended."""
        self._answer = answer
        self._row = next((row for row in rows if row.name == self._container), None)
        self._show()

    def _show(self) -> None:
        about = next(
            (one for one in self._answer["containers"] if one["name"] == self._container), None
        )
        line = cells.description(about) if about else "removed"
        self.query_one("#about", Static).update(line, layout=False)
        texts = cells.figures(self._row, self._answer["memory"]) if self._row else {}
        for key, colour in PANELS:
            panel = self.query_one(f"#{key}", Static)
            text = Text(texts.get(key, "-- it does not run"), no_wrap=True)
            if self._row is not None:
                line = cells.past(self._row, key, panel.size.width, self._answer["memory"])
                text.append(f"\n{line}", style=colour)
            panel.update(text, layout=False)

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer panels beside each other."""
        self.query_one("#panels").set_class(event.size.width >= WIDE, "wide")
        self.call_after_refresh(self._show)

    def on_logged(self, message: Logged) -> None:
        """More of its log."""
        log = self.query_one("#log", RichLog)
        for line in message.lines:
            log.write(Text(line))

    # --- keys -----------------------------------------------------------------------------------

    def action_back(self) -> None:
        """To the table, or out of the field."""
        field = self.query_one("#command", Input)
        if field.display:
            self._leave(field)
        else:
            self.dismiss()

    def action_command(self) -> None:
        """Ask which."""
        field = self.query_one("#command", Input)
        field.display = True
        self.set_focus(field)
        self.query_one("#help", Static).update(cells.keys(IN_FIELD))

    @on(Input.Submitted, "#command")
    def _run(self, event: Input.Submitted) -> None:
        self._leave(event.input)
        try:
            command = shlex.split(event.value)
        except ValueError as error:
            self._say(f"{event.value}: {error}")
            return
        if not command:
            return
        with self.app.suspend():
            try:
                status = self._daemon.run(self._container, command)
                said = f"{event.value}: exit status {status}"
            except Failure as failure:
                said = failure.message
        self._say(said)

    def _say(self, text: str) -> None:
        self.query_one("#log", RichLog).write(Text(f"-- {text} --", style="yellow"))

    def _leave(self, field: Input) -> None:
        field.display = False
        self.query_one("#help", Static).update(cells.keys(HELP))
        self.set_focus(self.query_one("#log"))
