"""`orlop save`, `load`, `import`, `image from`: images and root filesystems as tars."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from supervisor.cli.context import Context
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser
from supervisor.cli.output_file import check_output, write_output
from supervisor.cli.progress import follow, stdout

_PIECE = 256 * 1024


def save(words: Sequence[str], context: Context, name: str = "save") -> int:
    """Write images to an archive."""
    parser = Parser(
        name,
        "IMAGE [IMAGE...]",
        "Save one or more images to a tar archive (streamed to stdout by default)",
        count=(1, None),
        notes="The archive is docker's and an OCI layout at once.",
    )
    parser.flag("-o", "--output", help="Write to a file, instead of stdout")
    options = parser.parse(words)
    check_output(options.output, "save")
    query = {"names": options.operands}
    with context.client().begin("GET", "/images/get", query) as call:
        call.response()  # an error leaves what is in the file alone
        write_output(options.output, call.pieces())
    return 0


def load(words: Sequence[str], context: Context, name: str = "load") -> int:
    """Load images from an archive."""
    parser = Parser(
        name, "", "Load images from a tar archive (docker's or OCI's) or stdin", count=(0, 0)
    )
    parser.flag("-i", "--input", help="Read from a tar archive file, instead of stdin")
    parser.flag("--platform", help="Choose the platform of an image of several (linux/arm64)")
    parser.switch("-q", "--quiet", help="Suppress the progress of layers")
    options = parser.parse(words)
    if not options.input and sys.stdin.isatty():
        raise Failure("requested load from stdin, but stdin is a terminal: give --input FILE")
    quiet = options.quiet or not sys.stdout.isatty()
    query = {"quiet": quiet, "platform": options.platform or None}
    pieces = _pieces(options.input or "-")
    with context.client().upload("POST", "/images/load", query, pieces) as call:
        call.response()
        follow(call.lines(), stdout(quiet=quiet))
    return 0


def import_(words: Sequence[str], context: Context, name: str = "import") -> int:
    """Make an image of a tar of a root filesystem."""
    parser = Parser(
        name,
        "FILE|- [REPOSITORY[:TAG]]",
        "Import a tar of a root filesystem, compressed or not, to create an image",
        count=(1, 2),
    )
    parser.flag(
        "-c",
        "--change",
        kind="list",
        many=True,
        help="Apply a Dockerfile instruction to the image (CMD, ENV, LABEL, USER, …)",
    )
    parser.flag("-m", "--message", help="Set a commit message for the image")
    parser.flag("--platform", help="Set the platform of the image (linux/arm64)")
    options = parser.parse(words)
    source, *repository = options.operands
    if "://" in source:
        raise Failure("importing from a URL is not supported: fetch it, and import the file")
    query = {
        "fromSrc": "-",
        "repo": repository[0] if repository else None,
        "message": options.message or None,
        "changes": options.change,
        "platform": options.platform or None,
    }
    with context.client().upload("POST", "/images/create", query, _pieces(source)) as call:
        print(call.result()["status"])
    return 0


def image_from(words: Sequence[str], context: Context, name: str) -> int:
    """Make an image of a prepared root filesystem."""
    parser = Parser(
        name,
        "DIR|TAR|- NAME[:TAG]",
        "Make an image of one layer from a prepared root filesystem",
        count=(2, 2),
        notes="A folder is read by the daemon, on the host where that runs.",
    )
    source, image = parser.parse(words).operands
    client = context.client()
    if source != "-" and Path(source).is_dir():
        folder = {"path": str(Path(source).absolute())}
        print(client.post("/orlop/images/from", {"name": image}, folder)["Id"])
        return 0
    query = {"name": image}
    with client.upload("POST", "/orlop/images/from", query, _pieces(source)) as call:
        print(call.result()["Id"])
    return 0


def _pieces(path: str) -> Iterator[bytes]:
    """The content of a file, or of stdin for "-", as it comes; opened at once."""
    fd = sys.stdin.fileno() if path == "-" else _open(path)
    return _read(fd, close=path != "-")


def _open(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"open {path}: {error.strerror}") from None
    if Path(path).is_dir():
        os.close(fd)
        raise Failure(f"{path} is a folder: give a tar archive")
    return fd


def _read(fd: int, *, close: bool) -> Iterator[bytes]:
    try:
        while data := os.read(fd, _PIECE):
            yield data
    finally:
        if close:
            os.close(fd)
