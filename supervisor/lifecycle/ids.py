"""Container ids and names: making, checking and looking them up."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from random import Random
from typing import TypeVar

from supervisor.errors import InvalidArgument, NotFound

Value = TypeVar("Value")

ID_BYTES = 32
SHORT = 12

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_DIGITS = str.maketrans("0123456789", "abcdefabcd")

_ADJECTIVES = """
    able ample balmy bold brave breezy bright brisk buoyant calm candid careful cheerful clear
    clever cosy crisp curious daring deft eager earnest easy fair faithful fearless fine firm
    fleet fond frank fresh gentle glad gleaming golden graceful hardy hearty honest humble jolly
    keen kind lively loyal lucid merry mild modest neat nimble noble patient placid plain plucky
    polite prompt proud quick quiet ready robust sandy serene sharp silent silver smooth snug
    sober spry stable starry steady stout sturdy sunny sure swift tidy tranquil trim true upbeat
    valiant vivid warm wary watchful willing windy wise witty worthy zesty
"""
_NOUNS = """
    albatross anchor auk beacon binnacle bittern bollard bosun bowsprit brig buoy capstan
    caravel catamaran clipper cod compass coral cormorant corvette current cutter davit dinghy
    dolphin dory eider ferry fjord frigate galleon galley gannet gull halyard harbour haven
    hawser heron herring hull isle islet jetty kayak keel kelp ketch lagoon lantern lighthouse
    limpet lugger mackerel mast mizzen mooring narwhal oar orca osprey otter pelican petrel pier
    pilot pinnace plaice porpoise prow puffin quay reef rigging rudder sail salmon schooner seal
    sextant shoal skiff skipper sloop spar spinnaker starfish sterling strait tern tide tiller
    topsail trawler turbot walrus wharf whelk windlass xebec yawl
"""
ADJECTIVES = tuple(_ADJECTIVES.split())
NOUNS = tuple(_NOUNS.split())


def new_id(random: bytes) -> str:
    """An id of 64 hex digits from 32 random bytes.

    The short id is the container's host name, and one of digits only would be taken for an
    IPv4 address by inet_aton(3): it gets a letter in front.
    """
    if len(random) != ID_BYTES:
        raise ValueError(f"an id needs {ID_BYTES} random bytes, not {len(random)}")
    text = random.hex()
    if short(text).isdigit():
        return text[0].translate(_DIGITS) + text[1:]
    return text


def short(id: str) -> str:
    """The first 12 digits of an id, as `ps` shows it."""
    return id[:SHORT]


def valid_name(name: str) -> bool:
    """True if `name` is a container's name as docker allows it, without a leading slash."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """`name` without docker's leading slash; InvalidArgument in docker's words."""
    bare = name.removeprefix("/")
    if not valid_name(bare):
        raise InvalidArgument(
            f"Invalid container name ({name}), "
            "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and at least two characters"
        )
    return bare


def generate_name(rng: Random, *, numbered: bool = False) -> str:
    """A name such as "steady_puffin"; with a digit behind if `numbered` (the first was taken)."""
    name = f"{rng.choice(ADJECTIVES)}_{rng.choice(NOUNS)}"
    return f"{name}{rng.randrange(10)}" if numbered else name


class ById(dict[str, Value]):
    """What there is by its id, found by a short id as fast: clients ask by that.

    Change it by item only (`by[id] = …`, `del by[id]`): dict's other ways pass by what it keeps.
    """

    def __init__(self) -> None:
        super().__init__()
        self._by_short: dict[str, list[str]] = {}

    def __setitem__(self, id: str, value: Value) -> None:
        if id not in self:
            self._by_short.setdefault(short(id), []).append(id)
        super().__setitem__(id, value)

    def __delitem__(self, id: str) -> None:
        super().__delitem__(id)
        alike = self._by_short[short(id)]
        alike.remove(id)
        if not alike:
            del self._by_short[short(id)]

    def beginning(self, text: str) -> list[str]:
        """The ids that begin with it."""
        of = self if len(text) < SHORT else self._by_short.get(short(text), ())
        return _beginning(of, text)


def resolve(reference: str, ids: Collection[str], names: Mapping[str, str]) -> str:
    """The full id that `reference` means: an id, a name (of name → id), or an id's begin.

    In this order, as docker. NotFound if there is none; InvalidArgument if several ids
    begin with it.
    """
    if not reference:
        raise InvalidArgument("No container name or ID supplied")
    if reference in ids:
        return reference
    if (id := names.get(reference.removeprefix("/"))) is not None:
        return id
    found = ids.beginning(reference) if isinstance(ids, ById) else _beginning(ids, reference)
    if len(found) > 1:
        raise InvalidArgument(f"multiple IDs found with provided prefix: {reference}")
    if not found:
        raise NotFound(f"No such container: {reference}")
    return found[0]


def _beginning(ids: Iterable[str], text: str) -> list[str]:
    return [id for id in ids if id.startswith(text)]
