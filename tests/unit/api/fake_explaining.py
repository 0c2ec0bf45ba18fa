"""Explanations that are just the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FakeExplaining:
    async def layers(self, ref: str) -> Mapping[str, Any]:
        return {"ref": ref}

    async def whence(self, ref: str, path: str, *, follow: bool = True) -> Mapping[str, Any]:
        return {"ref": ref, "path": path, "follow": follow}

    async def explain(self, ref: str) -> Mapping[str, Any]:
        return {"ref": ref}
