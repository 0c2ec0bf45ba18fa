"""USER strings, resolved against a container's own passwd and group files.

Docker's semantics (moby/sys, user package) with one difference: a number here is ASCII
digits and nothing else, and an entry whose ids are no such numbers is refused, where
docker's parser reads a malformed id as 0, which is root. Never the host's NSS: the files
come from an image that nobody vouches for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.errors import InvalidArgument, NotFound

MAX_ID = (1 << 31) - 1
FILE_LIMIT = 1 << 20
MAX_GROUPS = 65536  # NGROUPS_MAX, setgroups(2)
_LONGEST_NAME = 256
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-@$")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIds:
    """Who a process runs as.

    `groups` is what setgroups gets: the primary group first, as docker has it. `home` and
    `name` are "" where passwd has no entry.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str = ""
    name: str = ""


def parse_user(user: str) -> tuple[str, str | None]:
    """ "user[:group]" as its parts; group None where not given. InvalidArgument when malformed.

    Each part is a decimal number 0–2147483647 or a name; user "" is uid 0.
    """
    user_part, _, group_part = user.partition(":")
    if user_part:
        parse_id(user_part, "user")
    if group_part:
        parse_id(group_part, "group")
    return user_part, group_part or None


def parse_id(part: str, what: str) -> int | None:
    """The number of a decimal id, None for a name; InvalidArgument for what is neither.

    `what` is "user" or "group", for the message.
    """
    if part.isascii() and part.isdecimal():
        number = _digits(part.encode())
        if number is None:
            raise InvalidArgument(
                f"invalid {what} {part[:_LONGEST_NAME]}: uids and gids must be in range 0-{MAX_ID}"
            )
        return number
    if (
        len(part) > _LONGEST_NAME
        or not _NAME_CHARACTERS.issuperset(part)
        or part.startswith("-")
        # "1_000", "1.5", "-1" are names to no one, and numbers to too many parsers.
        or not any(c.isalpha() for c in part)
    ):
        raise InvalidArgument(
            f"invalid {what} {part[:_LONGEST_NAME]!r}: give a name of letters, digits and . _ - "
            f"@ $, or a number 0-{MAX_ID}"
        )
    return None


def lookup(user: str, additional_groups: Sequence[str], passwd: bytes, group: bytes) -> UserIds:
    """The ids of `user` and of --group-add's `additional_groups` in these two files.

    A numeric user without an entry is taken as it is, with group 0. The groups that list
    the user as a member count only where USER names no group. Raises InvalidArgument for
    malformed strings and entries, NotFound (with docker's words) for unknown names.
    """
    user_part, group_part = parse_user(user)
    uid, gid, name, home = _find_user(user_part, passwd)
    members: list[int] = []
    if group_part is not None:
        gid = _find_group(group_part, group)
    elif name:
        members = _groups_of(name.encode("utf-8", "surrogateescape"), group)
    extra = [_find_group(g, group) for g in additional_groups]
    groups = tuple(dict.fromkeys([gid, *members, *extra]))
    if len(groups) > MAX_GROUPS:
        raise InvalidArgument(f"user {user} is in more than {MAX_GROUPS} groups")
    return UserIds(uid=uid, gid=gid, groups=groups, home=home, name=name)


def _find_user(part: str, passwd: bytes) -> tuple[int, int, str, str]:
    number = parse_id(part, "user") if part else 0
    for fields in _entries(passwd, 4):
        if number is None:
            if fields[0] != part.encode():
                continue
        elif _digits(fields[2]) != number:
            continue
        uid, gid = _digits(fields[2]), _digits(fields[3])
        if uid is None or gid is None:
            raise InvalidArgument(
                f"unable to use user {part or 'root'}: its entry in the passwd file has no "
                f"ids in the range 0-{MAX_ID}"
            )
        home = fields[5] if len(fields) > 5 and b"\0" not in fields[5] else b""
        return uid, gid, _text(fields[0]), _text(home)
    if number is None:
        raise NotFound(f"unable to find user {part}: no matching entries in passwd file")
    return number, 0, "", ""


def _find_group(part: str, group: bytes) -> int:
    number = parse_id(part, "group")
    if number is not None:
        return number
    for fields in _entries(group, 3):
        if fields[0] == part.encode():
            gid = _digits(fields[2])
            if gid is None:
                raise InvalidArgument(
                    f"unable to use group {part}: its entry in the group file has no id in "
                    f"the range 0-{MAX_ID}"
                )
            return gid
    raise NotFound(f"unable to find group {part}: no matching entries in group file")


def _groups_of(name: bytes, group: bytes) -> list[int]:
    found = []
    for fields in _entries(group, 4):
        gid = _digits(fields[2])
        # A line with a malformed id names no group: better one too few than group 0.
        if gid is not None and name in fields[3].split(b","):
            found.append(gid)
    return found


def _entries(content: bytes, least: int) -> Iterator[list[bytes]]:
    # Lines of at least `least` fields; of a file that was cut, not the torn last line.
    if len(content) >= FILE_LIMIT:
        content = content[: content.rfind(b"\n", 0, FILE_LIMIT) + 1]
    for line in content.split(b"\n"):
        stripped = line.strip(b" \t\r")
        if stripped and not stripped.startswith(b"#"):
            fields = stripped.split(b":")
            if len(fields) >= least:
                yield fields


def _digits(text: bytes) -> int | None:
    # bytes.isdigit() is ASCII only; int() would also take "+0", "1_0" and " 0".
    if not text.isdigit() or len(text) > 20:
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
