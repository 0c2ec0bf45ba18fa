"""--mount: a comma-separated list of keys, quoted as in CSV, to the Mounts of a create request.

Keys are docker's. What only the daemon can know (whether a source or a volume exists) is left
to it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.spec.units import parse_size

Json = dict[str, Any]
Put = Callable[[Json, str], None]

_GROUPS = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions"}
_RECURSIVE = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}


def mount(text: str) -> Json:
    """One mount of type bind, volume (the default) or tmpfs."""
    import csv

    kind, fields = "volume", Json()
    for item in next(csv.reader([text]), []):
        name, equals, value = item.partition("=")
        name = name.strip().lower()
        if name == "type":
            kind = value.lower()
        elif name not in _FIELDS:
            raise ValueError(f"unknown option '{name}'; there are type, {', '.join(_FIELDS)}")
        elif not equals and name not in _SWITCHES:
            raise ValueError(f"invalid field '{item}' must be a key=value pair")
        else:
            _FIELDS[name](fields, value if equals else "true")
    return _checked(kind, fields)


def _checked(kind: str, fields: Json) -> Json:
    if kind not in _GROUPS:
        raise ValueError(f"type '{kind}' is not supported: give type=bind, volume or tmpfs")
    if not fields.get("Target"):
        raise ValueError("target is required")
    if kind == "bind" and not fields.get("Source"):
        raise ValueError("source is required for type=bind")
    if kind == "tmpfs" and "Source" in fields:
        raise ValueError("type=tmpfs takes no source")
    for other, group in _GROUPS.items():
        if other != kind and group in fields:
            raise ValueError(f"cannot mix '{other}-*' options with mount type '{kind}'")
    bind = fields.get("BindOptions", {})
    for name, word in (
        ("ReadOnlyNonRecursive", "writable"),
        ("ReadOnlyForceRecursive", "readonly"),
    ):
        if name in bind and not fields.get("ReadOnly"):
            raise ValueError(
                f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction"
            )
    if "ReadOnlyForceRecursive" in bind and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be "
            "specified in conjunction"
        )
    return {"Type": kind, **fields}


def _put(name: str, convert: Callable[[str], Any] = str, group: str = "") -> Put:
    def put(fields: Json, value: str) -> None:
        into = fields.setdefault(group, {}) if group else fields
        into[name] = convert(value)

    return put


def _recursive(fields: Json, value: str) -> None:
    if value not in _RECURSIVE:
        raise ValueError(
            f"invalid value '{value}' for bind-recursive: give {', '.join(_RECURSIVE)}"
        )
    fields.setdefault("BindOptions", {}).update(_RECURSIVE[value])


def _volume_driver(fields: Json) -> Json:
    driver: Json = fields.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
    return driver


def _driver_name(fields: Json, value: str) -> None:
    _volume_driver(fields)["Name"] = value


def _driver_option(fields: Json, text: str) -> None:
    name, _, value = text.partition("=")
    _volume_driver(fields).setdefault("Options", {})[name] = value


def _label(fields: Json, text: str) -> None:
    name, _, value = text.partition("=")
    fields.setdefault("VolumeOptions", {}).setdefault("Labels", {})[name] = value


def _tmpfs_options(text: str) -> list[list[str]]:
    return [word.split("=", 1) for word in text.replace(";", ",").split(",") if word]


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"'{text}' is neither true nor false")
    return text.lower() in ("true", "1")


def _mode(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"invalid tmpfs-mode '{text}': an octal number is expected") from None


def absolute_if_dotted(path: str) -> str:
    """A path that begins with a dot, as the daemon must be told it."""
    return str(Path(path).absolute()) if path.startswith(".") else path


_SWITCHES = frozenset({"readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"})
_FIELDS: dict[str, Put] = {
    "source": _put("Source", absolute_if_dotted),
    "src": _put("Source", absolute_if_dotted),
    "target": _put("Target"),
    "dst": _put("Target"),
    "destination": _put("Target"),
    "readonly": _put("ReadOnly", _truth),
    "ro": _put("ReadOnly", _truth),
    "consistency": _put("Consistency"),
    "bind-propagation": _put("Propagation", group="BindOptions"),
    "bind-nonrecursive": _put("NonRecursive", _truth, group="BindOptions"),
    "bind-recursive": _recursive,
    "bind-create-src": _put("CreateMountpoint", _truth, group="BindOptions"),
    "volume-subpath": _put("Subpath", group="VolumeOptions"),
    "volume-nocopy": _put("NoCopy", _truth, group="VolumeOptions"),
    "volume-label": _label,
    "volume-driver": _driver_name,
    "volume-opt": _driver_option,
    "tmpfs-size": _put("SizeBytes", parse_size, group="TmpfsOptions"),
    "tmpfs-mode": _put("Mode", _mode, group="TmpfsOptions"),
    "tmpfs-options": _put("Options", _tmpfs_options, group="TmpfsOptions"),
}
