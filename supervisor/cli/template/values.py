"""Values as JSON decodes them, seen as Go sees docker's: which objects are maps, what is empty.

Go tells maps from structs: an unknown key of a map is `<no value>`, an unknown field of a
struct an error. JSON has one kind of object for both, so maps are known here by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAPS = frozenset(
    {
        "Annotations",
        "Attributes",
        "AuxiliaryAddresses",
        "Containers",
        "Data",
        "Details",
        "DriverOpts",
        "EndpointsConfig",
        "ExposedPorts",
        "Labels",
        "Networks",
        "Options",
        "PortBindings",
        "Ports",
        "Runtimes",
        "Status",
        "StorageOpt",
        "Sysctls",
        "Tmpfs",
        "Volumes",
    }
)


class GoMap(dict[str, Any]):
    """An object that is a map in docker's types; `null` where JSON had null for it."""

    null = False


def field(holder: Mapping[str, Any], name: str) -> Any:
    """`holder[name]`, as a GoMap where docker has a map of this name; raises KeyError."""
    value = holder[name]
    is_map = name in MAPS or (name == "Config" and set(holder) == {"Type", "Config"})
    if not is_map or not (value is None or isinstance(value, Mapping)):
        return value
    made = GoMap(value or {})
    made.null = value is None
    return made


def zero(mapping: Mapping[str, Any]) -> Any:
    """What Go gives for a key that a map does not have: "" where its values are texts."""
    return "" if all(isinstance(value, str) for value in mapping.values()) else None


def truth(value: Any) -> bool:
    """Whether `if`, `with`, `and`, `or` and `not` take a value for true."""
    return bool(value)


def type_name(value: Any) -> str:
    """The Go type that a decoded value has, for messages and %T."""
    names: tuple[tuple[type, str], ...] = (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (list, "[]interface {}"),
        (dict, "map[string]interface {}"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "<nil>")


def byte_text(text: str) -> bytes:
    """A text's bytes, by which Go counts and cuts; lone surrogates pass."""
    return text.encode("utf-8", "surrogatepass")


def cut(text: str, start: int, end: int) -> str:
    """The bytes from `start` to `end` as a text; half a character at either end is left out."""
    return byte_text(text)[start:end].decode("utf-8", "ignore")
