"""Tar archives: ustar, PAX and GNU's long names, read and written without I/O.

Reading: `TarReader(limits).feed(data)` gives what is complete, `close()` says whether the
archive was. Writing: `encode_header(entry)`, `entry.size` bytes of content, `padding(size)`
for each entry, then `END`.
"""

from supervisor.oci.tar.entry import NO_XATTRS, Data, End, Entry, Event, Type
from supervisor.oci.tar.limits import MAX_ENTRIES, MAX_ID, MAX_OFFSET, Limits
from supervisor.oci.tar.reader import TarReader
from supervisor.oci.tar.writer import END, encode_header, padding

__all__ = [
    "END",
    "MAX_ENTRIES",
    "MAX_ID",
    "MAX_OFFSET",
    "NO_XATTRS",
    "Data",
    "End",
    "Entry",
    "Event",
    "Limits",
    "TarReader",
    "Type",
    "encode_header",
    "padding",
]
