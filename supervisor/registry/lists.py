"""Lists that a registry hands out page by page: tags, and the catalogue of repositories."""

from __future__ import annotations

import msgspec

from supervisor.errors import InvalidArgument
from supervisor.oci.http_fields import next_link
from supervisor.oci.web_url import WebUrl, check_redirect
from supervisor.registry.auth import Scopes
from supervisor.registry.session import Ask, Session

MAX_PAGE = 4 << 20


class _Page(msgspec.Struct):
    tags: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None


async def read_list(
    session: Session, path: str, member: str, scopes: Scopes, most: int
) -> list[str]:
    """The names in `member` of all pages, at most `most`; InvalidArgument for other answers."""
    found: list[str] = []
    to: str | WebUrl = path
    while True:
        answer = await session.read(Ask("GET", to, scopes), MAX_PAGE)
        try:
            page = msgspec.json.decode(answer.data, type=_Page)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgument(f"{session}: not a list of {member}: {error}") from None
        names = getattr(page, member) or ()
        found += names
        link = next_link(answer.headers.get("link", ""))
        if link is None or not names or len(found) >= most:
            return found[:most]
        to = answer.url.join(link)
        check_redirect(answer.url.origin, answer.url.origin, to.origin)
