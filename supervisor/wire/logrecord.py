"""The container's log file: lines of Kubernetes' CRI log format.

    2026-11-21T04:22:00.123456789Z stdout F a whole line, its newline is the record's
    2026-11-21T04:22:00.123456789Z stderr P part of a line, which goes on in the next record

Data has no newline in it, so it needs no escapes and comes out byte for byte, whatever it
is; times are UTC with nanoseconds and all of one width. (kubelet's
`pkg/kubelet/kuberuntime/logs`.) The last line of a file may be torn by a power cut: who
appends to such a file writes a newline first.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import gmtime

MAX_LINE = 16384
MAX_RECORD = 1 << 20

_TIME_SIZE = 30
_HEAD_SIZE = 40
_WHOLE = {b" stdout F ": "stdout", b" stderr F ": "stderr"}
_PART = {b" stdout P ": "stdout", b" stderr P ": "stderr"}
_DIGITS = (slice(0, 4), slice(5, 7), slice(8, 10), slice(11, 13), slice(14, 16), slice(17, 19))


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `wall_ns` since the epoch, `data` with its newline if the line ends here."""

    wall_ns: int
    stream: str
    data: bytes


class Encoder:
    """Turns what one stream ("stdout" or "stderr") writes into records.

    A line is written when it is complete, or in parts of `max_line` bytes when it is
    longer; where the input is cut makes no difference. At most `max_line` bytes are kept.
    """

    def __init__(self, stream: str, max_line: int = MAX_LINE) -> None:
        self._whole = f" {stream} F ".encode()
        self._part = f" {stream} P ".encode()
        if self._whole not in _WHOLE:
            raise ValueError(f"no such stream in a log: {stream!r}")
        self._max = max_line
        self._rest = b""

    def feed(self, data: bytes, wall_ns: int) -> bytes:
        """The records that `data`, read at `wall_ns`, completes; b"" if there are none."""
        data = self._rest + data
        end = data.rfind(b"\n")
        if end < 0 and len(data) <= self._max:
            self._rest = data
            return b""
        time = timestamp(wall_ns)
        whole = self._lines(data[:end], time) if end >= 0 else b""
        self._rest = data[end + 1 :]
        if len(self._rest) <= self._max:
            return whole
        parts, self._rest = self._cut(self._rest, time)
        return whole + parts

    def close(self, wall_ns: int) -> bytes:
        """The stream ended: a record of what it left without a newline."""
        rest, self._rest = self._rest, b""
        return timestamp(wall_ns) + self._part + rest + b"\n" if rest else b""

    def _lines(self, block: bytes, time: bytes) -> bytes:
        """Records of whole lines; `block` without its last newline."""
        head = time + self._whole
        if len(block) <= self._max:
            return head + block.replace(b"\n", b"\n" + head) + b"\n"
        lines = block.split(b"\n")
        if max(map(len, lines)) <= self._max:
            return head + (b"\n" + head).join(lines) + b"\n"
        records = []
        for line in lines:
            if len(line) > self._max:
                parts, line = self._cut(line, time)
                records.append(parts)
            records += (head, line, b"\n")
        return b"".join(records)

    def _cut(self, line: bytes, time: bytes) -> tuple[bytes, bytes]:
        """Part records of a long line, and the 1 to `max_line` bytes that end it."""
        size = self._max
        last = (len(line) - 1) // size * size
        head = time + self._part
        parts = (head + line[at : at + size] + b"\n" for at in range(0, last, size))
        return b"".join(parts), line[last:]


class Decoder:
    """Reads records, cut anywhere. What is no record is skipped, and counted in `skipped`.

    An incomplete last line is kept until the rest of it is fed; of a line beyond
    `max_record` bytes nothing is kept.
    """

    def __init__(self, max_record: int = MAX_RECORD) -> None:
        self.skipped = 0
        self._max = max_record
        self._rest = b""
        self._skipping = False
        self._second = b""
        self._second_ns = 0

    def feed(self, data: bytes) -> list[Record]:
        """The records that `data` completes."""
        lines = data.split(b"\n")
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()
        if self._skipping and lines:
            del lines[0]
            self._skipping = False
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > self._max:
            self._rest = b""
            self._skipping = True
            self.skipped += 1
        records = [self._record(line) for line in lines]
        found = [record for record in records if record is not None]
        self.skipped += len(records) - len(found)
        return found

    def _record(self, line: bytes) -> Record | None:
        tag = line[_TIME_SIZE:_HEAD_SIZE]
        whole = _WHOLE.get(tag)
        stream = whole or _PART.get(tag)
        if stream is None or len(line) > self._max:
            return None
        wall_ns = self._time(line[:_TIME_SIZE])
        if wall_ns is None:
            return None
        return Record(wall_ns, stream, line[_HEAD_SIZE:] + (b"\n" if whole else b""))

    def _time(self, text: bytes) -> int | None:
        """Many records share a second: its conversion is kept."""
        fraction = text[20:29]
        if not fraction.isdigit() or text[19:20] != b"." or text[29:] != b"Z":
            return None
        if text[:19] != self._second:
            seconds = _seconds(text[:19])
            if seconds is None:
                return None
            self._second, self._second_ns = text[:19], seconds * 1_000_000_000
        return self._second_ns + int(fraction)


def timestamp(wall_ns: int) -> bytes:
    """RFC 3339 in UTC with nanoseconds, 30 bytes: b"2026-11-21T04:22:00.123456789Z"."""
    seconds, fraction = divmod(wall_ns, 1_000_000_000)
    t = gmtime(seconds)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%09dZ" % (*t[:6], fraction)


def _seconds(text: bytes) -> int | None:
    """b"2026-11-21T04:22:00" as seconds since the epoch; None if it is no time."""
    digits = [text[part] for part in _DIGITS]
    if not all(map(bytes.isdigit, digits)):
        return None
    if text[4:5] + text[7:8] + text[10:11] + text[13:14] + text[16:17] != b"--T::":
        return None
    year, month, day, hour, minute, second = map(int, digits)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        return None
    return ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar, counting years from March."""
    if month < 3:
        year, month = year - 1, month + 12
    return (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469
    )
