"""Where a copy goes and what it is called there: docker's rules for `cp`, as values.

As moby's pkg/archive/copy.go and the docker CLI have them: a source ending in "/." means what
is in the folder, a destination that is a folder is copied into, one that does not exist gives
the copy its name.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from pathlib import Path

from supervisor.cli.failures import Failure

_MOST_LINKS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A path on one side. `renamed` is what the source is to be called, "" as it is."""

    path: str
    exists: bool = True
    is_folder: bool = False
    renamed: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Extract into `folder`; the top of the source is called `name` there.

    `name` "." is for what is in the folder that is copied, without the folder itself.
    """

    folder: str
    name: str


def split_argument(argument: str) -> tuple[str, str]:
    """(container, path); "" for a path of this host."""
    if argument.startswith("/"):
        return "", argument
    container, colon, path = argument.partition(":")
    if not colon or container.startswith("."):  # ./file:name is a path
        return "", argument
    return container, path


def plan(source: Place, destination: Place) -> Plan:
    """Raises Failure in docker's words for what cannot be."""
    name = source.renamed or split(source.path)[1]
    if destination.exists and destination.is_folder:
        return Plan(destination.path, name)
    folder, base = split(destination.path)
    if destination.exists and source.is_folder:
        raise Failure("cannot copy directory")
    if not destination.exists and not source.is_folder and wants_folder(destination.path):
        raise Failure("no such directory")
    return Plan(folder, base)


def split(path: str) -> tuple[str, str]:
    """The path's folder and last part, which is "." where the path ends so."""
    cleaned = _clean(path)
    if posixpath.basename(path) == ".":
        cleaned = cleaned.removesuffix("/") + "/."
    folder, slash, base = cleaned.rpartition("/")
    return folder or slash or ".", base or "/"


def wants_folder(path: str) -> bool:
    """Whether the path says that it is a folder's."""
    return path.endswith("/") or posixpath.basename(path) == "."


def follow(asked: str, target: str) -> tuple[str, str]:
    """A link's target with the ending that was asked for, and the name to give it ("" its own).

    What is copied is called as it was asked for, not as what the link leads to.
    """
    if posixpath.basename(asked) == "." and posixpath.basename(target) != ".":
        target += "/."
    if asked.endswith("/") and not target.endswith("/"):
        target += "/"
    name = _base(asked)
    return target, name if name != _base(target) else ""


def renamed(path: str, old: str, new: str) -> str:
    """An entry's path in a tar whose top is `old`, for a top that is `new`.

    Raises Failure for one that is not in that tree: the other side is not to be trusted.
    """
    if path.rstrip("/") == old.rstrip("/"):
        return new
    prefix = old if old.endswith("/") else old + "/"
    if not path.startswith(prefix):
        raise Failure(f"the archive has {path!r:.200}, which was not asked for")
    return posixpath.join(new, path[len(prefix) :])


def local_source(path: str, *, follow_link: bool) -> Place:
    """What is to be copied from this host; raises Failure, OSError."""
    if not path:
        raise Failure("source can not be empty")
    path = posixpath.join(Path.cwd(), path)
    folder, last = posixpath.split(path.rstrip("/") or "/")
    name = ""
    if follow_link:
        path, name = follow(path, os.path.realpath(path, strict=True))
    elif last in ("", ".", ".."):
        path = _keep_ending(os.path.realpath(path, strict=True), path)
    else:
        folder = os.path.realpath(folder, strict=True)
        path = _keep_ending(posixpath.join(folder, last), path)
    status = os.lstat(path)  # which a slash at the end makes follow a link
    return Place(path, True, stat.S_ISDIR(status.st_mode), name)


def local_destination(path: str) -> Place:
    """Where a copy goes on this host; links at the end are followed, as far as they lead."""
    if not path:
        raise Failure("destination can not be empty")
    path = posixpath.join(Path.cwd(), path)
    for _ in range(_MOST_LINKS + 1):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return _missing(path)
        if not stat.S_ISLNK(status.st_mode):
            return _existing(path, status)
        path = posixpath.join(split(path)[0], str(Path(path).readlink()))
    raise Failure(f"too many symlinks in {path}")


def _missing(path: str) -> Place:
    folder = split(path)[0]
    if not Path(folder).exists():
        raise Failure(f'invalid output path: directory "{folder}" does not exist')
    if not Path(folder).is_dir():
        raise Failure(f'invalid output path: "{folder}" is not a directory')
    return Place(path, False)


def _existing(path: str, status: os.stat_result) -> Place:
    is_folder = stat.S_ISDIR(status.st_mode)
    if not is_folder and not stat.S_ISREG(status.st_mode):
        raise Failure(f'invalid output path: "{path}" must be a directory or a regular file')
    return Place(path, True, is_folder)


def _keep_ending(path: str, like: str) -> str:
    """`path` with the slash or "/." that `like` ends in."""
    if posixpath.basename(like) == ".":
        return path.removesuffix("/") + "/."
    return path + "/" if like.endswith("/") and path != "/" else path


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def _base(path: str) -> str:
    """As Go's filepath.Base."""
    return posixpath.basename(path.rstrip("/")) or "/"
