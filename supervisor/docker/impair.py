"""The body of POST /containers/{id}/impair, which is Orlop's own: a worse network, for tests."""

from __future__ import annotations

import msgspec

from supervisor.docker.decode import convert, decode_object
from supervisor.errors import InvalidArgument

MOST_MS = 3_600_000.0


class ImpairBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """What goes to the container by `network` ("" = by all of its own) is delayed and lost so;
    all zero: neither any more."""

    network: str = ""
    loss_percent: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0


def decode_impair(raw: bytes) -> ImpairBody:
    """The request body; InvalidArgument names what cannot be."""
    body = convert(decode_object(raw), ImpairBody)
    if not 0 <= body.loss_percent <= 100:
        raise InvalidArgument(f"invalid LossPercent {body.loss_percent}: give 0 to 100")
    for name, value in (("DelayMs", body.delay_ms), ("JitterMs", body.jitter_ms)):
        if not 0 <= value <= MOST_MS:
            raise InvalidArgument(f"invalid {name} {value}: give 0 to {MOST_MS:.0f}")
    if body.jitter_ms and not body.delay_ms:
        raise InvalidArgument("JitterMs varies DelayMs: give both")
    return body
