"""Rows of GET /images/search, its limit and its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from supervisor.docker.filters import Filters, check_known, flag
from supervisor.docker.query import Query, integer
from supervisor.errors import InvalidArgument

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
_FILTERS = frozenset({"is-automated", "is-official", "stars"})


class _Row(msgspec.Struct):
    name: str
    description: str | None = None
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Answer(msgspec.Struct):
    results: tuple[_Row, ...] | None = None


def search_limit(query: Query) -> int:
    """How many rows are asked for; InvalidArgument in docker's words."""
    limit = integer(query, "limit")
    if limit is None or limit == 0:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {MAX_LIMIT}]")
    return limit


def check_search_filters(filters: Filters) -> None:
    """InvalidArgument for a filter that the search does not know."""
    check_known(filters, _FILTERS)
    for stars in filters.get("stars", ()):
        if not (stars.isascii() and stars.isdecimal()):
            raise InvalidArgument(f"invalid filter 'stars={stars:.40}'")


def row_matches(row: Mapping[str, Any], filters: Filters) -> bool:
    """Whether the row is wanted; checked filters only."""
    for name in ("is-automated", "is-official"):
        wanted = flag(filters, name)
        if wanted is not None and row[name.replace("-", "_")] != wanted:
            return False
    return all(row["star_count"] >= int(stars) for stars in filters.get("stars", ()))


def hub_rows(data: bytes) -> list[dict[str, Any]]:
    """Rows of what docker.io's index answers; InvalidArgument for anything else."""
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the index's answer is no list of repositories: {error}") from None
    return [msgspec.to_builtins(_described(row)) for row in answer.results or ()]


def catalogue_rows(
    domain: str, names: Sequence[str], term: str, limit: int
) -> list[dict[str, Any]]:
    """Rows of the repositories in a registry's catalogue that have `term` in their name."""
    found = sorted(name for name in names if term.lower() in name)
    return [msgspec.to_builtins(_described(_Row(f"{domain}/{name}"))) for name in found[:limit]]


def _described(row: _Row) -> _Row:
    row.description = row.description or ""
    return row
