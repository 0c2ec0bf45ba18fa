"""One feature of a host, as `orlop doctor` shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`status` is "ok", "warn" (Orlop works without it, but for what `why` says) or "fail".

    `found` is what the host has, `fix` what to do where it is not ok. All are for people but
    `name`, which stays as it is from version to version.
    """

    name: str
    status: str
    found: str
    why: str
    fix: str
