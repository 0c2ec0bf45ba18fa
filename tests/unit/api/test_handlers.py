"""Every operation of the routing table has its handler, and no handler is out of reach."""

from __future__ import annotations

from supervisor.api.handlers import HANDLERS, PROMPT
from supervisor.docker.routes import ROUTES


def test_routes_and_handlers_are_the_same_set() -> None:
    assert {*HANDLERS, *PROMPT} == set(ROUTES.values())
    assert len(set(ROUTES.values())) == len(ROUTES)
