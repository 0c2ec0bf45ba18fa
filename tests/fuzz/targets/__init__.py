"""The targets by name. A module is imported when one of its targets is wanted: who guides by
coverage has to see it happen."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.target import Target

MODULES: dict[str, tuple[str, ...]] = {
    "tars": ("tar", "pax", "archive"),
    "images": ("manifest", "config", "reference", "registry"),
    "http": ("http", "query"),
    "bodies": ("create", "bodies", "filters"),
    "processes": ("shim", "log", "frames", "passwd"),
    "packets": ("netlink", "dns", "dns-reply"),
    "files": ("template", "compose", "seccomp", "variables"),
}
"""Module of this folder → names of its targets."""

NAMES = tuple(name for names in MODULES.values() for name in names)


def load(name: str) -> Target:
    """The target with that name."""
    module = next(module for module, names in MODULES.items() if name in names)
    found: tuple[Target, ...] = import_module(f"{__name__}.{module}").TARGETS
    return next(target for target in found if target.name == name)
