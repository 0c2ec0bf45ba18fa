import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument, NotFound, OrlopError
from supervisor.spec.users import FILE_LIMIT, MAX_ID, UserIds, lookup, parse_user

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
# a comment:x:7:7::/:

  bob:x:1000:1000:Bob:/home/bob:/bin/sh
bob:x:2000:2000:second Bob:/elsewhere:/bin/sh
nohome:x:1001:50
short:x
1234:x:99:99::/never:/bin/sh
"""
GROUP = b"""\
root:x:0:
staff:x:50:bob,alice
wheel:x:10:root,bob
bob:x:1000:
sneaky::+0:bob
dup:x:50:bob
"""
# Numbers to int(), to Go, to some libc or to a human, but not to us.
LOOKALIKES = [
    "2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "9" * 400,
    "-1",
    "-0",
    "+0",
    "1_000",
    "0_0",
    "\uff11",
    "\u0660",
    "\u00b2",
    " 0",
    "0 ",
    "\t0",
    "0\n",
    "0.0",
    "",
]


@pytest.mark.parametrize(
    "user, expected",
    [
        ("", UserIds(uid=0, gid=0, groups=(0, 10), home="/root", name="root")),
        ("root", UserIds(uid=0, gid=0, groups=(0, 10), home="/root", name="root")),
        # The first entry of a name counts; the groups of which it is a member follow.
        ("bob", UserIds(uid=1000, gid=1000, groups=(1000, 50, 10), home="/home/bob", name="bob")),
        ("1000", UserIds(uid=1000, gid=1000, groups=(1000, 50, 10), home="/home/bob", name="bob")),
        # A group that is named stands alone.
        ("bob:staff", UserIds(uid=1000, gid=50, groups=(50,), home="/home/bob", name="bob")),
        ("bob:7", UserIds(uid=1000, gid=7, groups=(7,), home="/home/bob", name="bob")),
        (":staff", UserIds(uid=0, gid=50, groups=(50,), home="/root", name="root")),
        ("bob:", UserIds(uid=1000, gid=1000, groups=(1000, 50, 10), home="/home/bob", name="bob")),
        # A number without an entry is taken as it is, with group 0.
        ("4242", UserIds(uid=4242, gid=0, groups=(0,))),
        ("4242:4243", UserIds(uid=4242, gid=4243, groups=(4243,))),
        (str(MAX_ID), UserIds(uid=MAX_ID, gid=0, groups=(0,))),
        # Digits are an id, whatever passwd calls somebody.
        ("1234", UserIds(uid=1234, gid=0, groups=(0,))),
        ("nohome", UserIds(uid=1001, gid=50, groups=(50,), name="nohome")),
    ],
)
def test_lookup(user: str, expected: UserIds) -> None:
    assert lookup(user, (), PASSWD, GROUP) == expected


def test_without_files_root_and_numbers_work() -> None:
    assert lookup("", (), b"", b"") == UserIds(uid=0, gid=0, groups=(0,))
    assert lookup("5:6", (), b"", b"") == UserIds(uid=5, gid=6, groups=(6,))


def test_additional_groups() -> None:
    ids = lookup("bob:staff", ("wheel", "77", "staff"), PASSWD, GROUP)
    assert ids.groups == (50, 10, 77)


def test_unknown_names_have_dockers_words() -> None:
    with pytest.raises(NotFound) as user:
        lookup("eve", (), PASSWD, GROUP)
    assert user.value.message == "unable to find user eve: no matching entries in passwd file"
    with pytest.raises(NotFound) as group:
        lookup("bob:evil", (), PASSWD, GROUP)
    assert group.value.message == "unable to find group evil: no matching entries in group file"
    with pytest.raises(NotFound, match="unable to find group evil"):
        lookup("bob", ("evil",), PASSWD, GROUP)
    with pytest.raises(NotFound):
        lookup("short", (), PASSWD, GROUP)  # a line without ids is no entry


@pytest.mark.parametrize("text", LOOKALIKES)
def test_lookalike_numbers_are_refused_even_where_passwd_has_them(text: str) -> None:
    passwd = f"{text}:x:0:0::/root:/bin/sh\n".encode() + PASSWD
    group = f"{text}:x:0:\n".encode() + GROUP
    if text:
        with pytest.raises(InvalidArgument):
            lookup(text, (), passwd, group)
        with pytest.raises(InvalidArgument):
            parse_user(text)
        with pytest.raises(InvalidArgument):
            lookup(f"bob:{text}", (), passwd, group)
    with pytest.raises(InvalidArgument):
        lookup("bob", (text,), passwd, group)


@pytest.mark.parametrize("text", [text for text in LOOKALIKES if "\n" not in text])
def test_lookalike_ids_in_entries_never_become_root(text: str) -> None:
    content = b"eve:x:" + text.encode() + b":100::/:\n"
    with pytest.raises((InvalidArgument, NotFound)):
        lookup("eve", (), content, b"")
    with pytest.raises((InvalidArgument, NotFound)):
        lookup("eve", (), b"eve:x:100:" + text.encode() + b"::/:\n", b"")
    with pytest.raises((InvalidArgument, NotFound)):
        lookup("5:eve", (), b"", b"eve:x:" + text.encode() + b":\n")
    # As a member: the malformed group is left out, not read as group 0.
    ids = lookup("bob", (), PASSWD, b"eve:x:" + text.encode() + b":bob\n")
    assert ids.groups == (1000,)


@pytest.mark.parametrize(
    "text", ["a b", "a\0b", "a:b:c", "bob:a:b", "-rf", "../x", "a/b", "é", "a\n", "x" * 300, "_"]
)
def test_malformed_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid (user|group) "):
        lookup(text, (), PASSWD, GROUP)


@pytest.mark.parametrize("name", ["www-data", "_apt", "a.b", "user@site", "machine$", "Bob", "7up"])
def test_names_in_use_are_accepted(name: str) -> None:
    passwd = f"{name}:x:33:34::/srv:/bin/sh\n".encode()
    assert lookup(name, (), passwd, b"") == UserIds(
        uid=33, gid=34, groups=(34,), home="/srv", name=name
    )


def test_parse_user() -> None:
    assert parse_user("") == ("", None)
    assert parse_user("bob") == ("bob", None)
    assert parse_user("bob:") == ("bob", None)
    assert parse_user("1:2") == ("1", "2")


def test_a_cut_file_gives_no_torn_entry() -> None:
    start = b"torn:x:1"
    filler = b"#" * (FILE_LIMIT - len(start) - 1) + b"\n"
    cut = filler + start + b":1:\n"  # bob's real id might have gone on: 1000
    assert len(cut[:FILE_LIMIT]) == FILE_LIMIT
    with pytest.raises(NotFound):
        lookup("torn", (), cut[:FILE_LIMIT], b"")
    with pytest.raises(NotFound):
        lookup("torn", (), cut, b"")


def test_a_name_that_is_no_utf8_has_its_groups() -> None:
    ids = lookup("7", (), b"b\xf6b:x:7:8::/:\n", b"a:x:9:b\xf6b\n")
    assert (ids.uid, ids.gid, ids.groups) == (7, 8, (8, 9))


def test_home_with_a_nul_is_left_out() -> None:
    assert lookup("eve", (), b"eve:x:1:1::/h\0me:\n", b"").home == ""


def test_too_many_groups_are_refused() -> None:
    group = b"".join(b"g:x:%d:bob\n" % n for n in range(65537))
    with pytest.raises(InvalidArgument, match="65536 groups"):
        lookup("bob", (), PASSWD, group)


@given(st.text(max_size=30), st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_give_legal_ids_or_our_error(user: str, passwd: bytes, group: bytes) -> None:
    try:
        ids = lookup(user, (), passwd, group)
    except OrlopError:
        return
    assert all(0 <= n <= MAX_ID for n in (ids.uid, ids.gid, *ids.groups))
    assert ids.groups[0] == ids.gid


@given(st.text(alphabet="0123456789+-_. \uff11\u00b2\u0660xe", min_size=1, max_size=12))
def test_root_only_by_zero_or_by_name(user: str) -> None:
    try:
        ids = lookup(user, (), b"", b"")
    except OrlopError:
        return
    assert ids.uid == int(user.partition(":")[0])
    assert user.isascii()
    assert user.isdigit()
