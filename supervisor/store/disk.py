"""What the kernel says about a disk, as an error that a client understands."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.errors import Internal, Unavailable

LATER = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
"""What somebody can put right: it may work then."""


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn an OSError into Unavailable (a full or read-only disk) or Internal."""
    try:
        yield
    except OSError as error:
        kind = Unavailable if error.errno in LATER else Internal
        raise kind(f"image store: {error.filename or 'data root'}: {error.strerror}") from error
