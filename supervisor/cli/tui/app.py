"""The table of all containers: the cursor stays on its container while the order changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from supervisor.cli.failures import Failure
from supervisor.cli.live_top import KEYS, WORDS
from supervisor.cli.tui import cells
from supervisor.cli.tui.detail import Detail
from supervisor.cli.tui.feed import SECONDS, Daemon, Failed, Polling, Told
from supervisor.cli.usage import Answer, Usage, Watched, matching, ordered
from supervisor.cli.usage_table import Column

HELP = {
    "c": "CPU", "m": "mem", "p": "wait", "n": "net", "b": "block", "i": "PIDs", "a": "name",
    "r": "reverse", "/": "filter", "⏎": "open", "q": "quit",
}  # fmt: skip
_MOVES = frozenset({"up", "down", "j", "k", "pageup", "pagedown", "home", "end"})
NOTHING = "no container runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What comes first, and whose names are shown."""

    sort: str = "cpu"
    reverse: bool = False
    filter: str = ""


class Rows(DataTable[Text]):
    """Keys go from row to row; there is nothing to the side."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("home", "scroll_top", show=False),
        Binding("end", "scroll_bottom", show=False),
    ]

    class Placed(Message):
        """It has another size now."""

    def on_resize(self) -> None:
        """Tell the application."""
        self.post_message(self.Placed())


class Top(App[Failure | None]):
    """`orlop top` until `q`; what it returns is why it ended otherwise."""

    CSS = """
    #title { height: 1; background: $primary; color: $text; text-style: bold; padding: 0 1; }
    #help { height: 1; color: $text-muted; }
    #filter { height: 1; border: none; padding: 0 1; display: none; background: $boost; }
    Rows { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
                overflow-x: hidden; background: $background; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"sort('{sort}')", show=False) for key, sort in KEYS.items()),
        Binding("r", "reverse", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "clear", show=False),
        Binding("q,ctrl+c", "quit", show=False),
    ]

    def __init__(self, daemon: Daemon, order: Order, seconds: float = SECONDS) -> None:
        super().__init__()
        self.daemon = daemon
        self.order = order
        self.rows: list[Usage] = []
        self.answer: Answer = {"cpus": 0, "memory": 0, "containers": []}
        self._watched = Watched()
        self._polling = Polling(daemon, self.post_message, seconds)
        self._shown: list[Usage] = []
        self._held = False
        """The user has chosen a container: the cursor goes where that goes."""
        self._columns: tuple[list[Column], int] = ([], 0)
        self._written: list[list[Text]] = []

    def compose(self) -> ComposeResult:
        """Title, table, filter, keys."""
        yield Static(id="title", markup=False)
        yield Rows(id="table", cursor_type="row", cell_padding=0)
        yield Input(id="filter", placeholder="part of a name", compact=True)
        yield Static(cells.keys(HELP), id="help")

    def on_mount(self) -> None:
        """Begin to ask."""
        self.table.focus()
        self.watch(self.table, "scroll_y", self._write_visible, init=False)
        self._polling.start()

    def on_unmount(self) -> None:
        """Ask no more."""
        self._polling.stop()

    @property
    def table(self) -> Rows:
        """The table."""
        return self.screen_stack[0].query_one("#table", Rows)

    # --- what the daemon tells ----------------------------------------------------------------

    def on_told(self, message: Told) -> None:
        """Show what is used now."""
        if not self.screen_stack:  # it ends
            return
        self.answer = message.answer
        self.rows = self._watched.look(message.answer)
        self.show_rows()
        if isinstance(self.screen, Detail):
            self.screen.update_from(self.rows, self.answer)

    def on_failed(self, message: Failed) -> None:
        """The daemon is gone: so is this."""
        self.exit(message.failure)

    def on_rows_placed(self) -> None:
        """Other columns fit now."""
        self.show_rows()

    # --- the table ------------------------------------------------------------------------------

    def show_rows(self, *, from_top: bool = False) -> None:
        """Write the table anew, in place: the scroll position stays, and whom the user chose."""
        if not self.table.size.width:  # it has no place yet
            return
        at = self.table.cursor_row
        chosen = self._shown[at].name if self._held and at < len(self._shown) else ""
        self._held = self._held and not from_top
        found = matching(self.rows, self.order.filter)
        self._shown = ordered(found, self.order.sort, reverse=self.order.reverse)
        self.screen_stack[0].query_one("#title", Static).update(
            f"orlop top  {self._title()}", layout=False
        )
        with self.batch_update():
            self._choose_columns()
            self._write()
            place = next((at for at, row in enumerate(self._shown) if row.name == chosen), at)
            self.table.move_cursor(row=0 if from_top else place, animate=False)

    def _title(self) -> str:
        if not self.rows:
            return NOTHING
        order = WORDS.get(self.order.sort, self.order.sort)
        order += ", reversed" if self.order.reverse else ""
        filter = f" · filter: {self.order.filter}" if self.order.filter else ""
        return cells.title(self.rows, self.answer, order) + filter

    def _choose_columns(self) -> None:
        """Those that fit now, and the width of names."""
        width = self.table.size.width - 1  # of the scroll bar
        chosen = cells.columns(self.answer["memory"], width)
        names = cells.name_width(self._shown, chosen, width)
        headings = [c.heading for c in chosen], names
        if headings != ([c.heading for c in self._columns[0]], self._columns[1]):
            self.table.clear(columns=True)
            self.table.add_column(self._heading("NAME"), width=names)
            for column in chosen:
                text = column.heading.rjust(column.width + 1)
                self.table.add_column(self._heading(text), width=column.width + 1)
            self._written.clear()
        self._columns = chosen, names

    def _heading(self, text: str) -> Text:
        return Text(text, style="bold")

    def _write(self) -> None:
        table = self.table
        while table.row_count > len(self._shown):
            last = table.coordinate_to_cell_key(Coordinate(table.row_count - 1, 0)).row_key
            table.remove_row(last)
            self._written.pop()
        for row in self._shown[table.row_count :]:
            texts = self._texts(row)
            table.add_row(*texts)
            self._written.append(texts)
        self._write_visible()

    def _write_visible(self) -> None:
        """The rows on the screen, where they have changed: a cell costs 0.1 ms."""
        top = int(self.table.scroll_offset.y)
        for at in range(top, min(top + self.table.size.height + 1, len(self._written))):
            texts, before = self._texts(self._shown[at]), self._written[at]
            for place, text in enumerate(texts):
                if text != before[place] or text.style != before[place].style:
                    self.table.update_cell_at(Coordinate(at, place), text)
            self._written[at] = texts

    def _texts(self, row: Usage) -> list[Text]:
        columns, names = self._columns
        return [cells.name_cell(row, names), *(cells.cell(column, row) for column in columns)]

    def on_key(self, event: events.Key) -> None:
        """Who moves the cursor has chosen."""
        self._held = self._held or event.key in _MOVES

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        if event.cursor_row < len(self._shown):
            self._held = True
            self.push_screen(Detail(self.daemon, self._shown[event.cursor_row], self.answer))

    @on(DataTable.HeaderSelected)
    def _sort_by(self, event: DataTable.HeaderSelected) -> None:
        heading = str(event.label).strip()
        for sort, headings in cells.HEADINGS.items():
            if heading in headings:
                same = sort == self.order.sort
                self._reorder(sort=sort, reverse=same and not self.order.reverse)

    # --- keys -----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the table are the table's: the other screen has its own."""
        if action in {"sort", "reverse", "filter", "clear"}:
            return len(self.screen_stack) == 1
        return True

    def action_sort(self, sort: str) -> None:
        """Another order."""
        self._reorder(sort=sort, reverse=False)

    def action_reverse(self) -> None:
        """The other way round."""
        self._reorder(sort=self.order.sort, reverse=not self.order.reverse)

    def _reorder(self, *, sort: str, reverse: bool) -> None:
        # Whoever asks for an order wants to see who is first.
        self.order = replace(self.order, sort=sort, reverse=reverse)
        self.show_rows(from_top=True)

    def action_filter(self) -> None:
        """Type a part of a name."""
        field = self.query_one("#filter", Input)
        field.display = True
        self.screen.set_focus(field)

    def action_clear(self) -> None:
        """All names again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        self._leave(field)

    @on(Input.Changed, "#filter")
    def _filter(self, event: Input.Changed) -> None:
        self.order = replace(self.order, filter=event.value)
        self.show_rows()

    @on(Input.Submitted, "#filter")
    def _filtered(self, event: Input.Submitted) -> None:
        self._leave(event.input)

    def _leave(self, field: Input) -> None:
        field.display = False
        self.screen.set_focus(self.table)


def run(daemon: Daemon, sort: str) -> None:
    """Show until `q`. Failure where the daemon refuses or goes away."""
    app = Top(daemon, Order(sort=sort))
    failure = app.run()
    if failure is not None:
        raise failure
