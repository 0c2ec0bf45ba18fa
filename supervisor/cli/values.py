"""Values of flags that are more than a word: mounts, devices, ulimits, variables, policies.

Each function takes the text after the flag and gives the piece of a create request's JSON;
it raises ValueError (or InvalidArgument) saying what was wrong. What the kernel or the
daemon must decide (whether a path exists, a capability is known) is left to the daemon.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from supervisor.cli.mount_values import absolute_if_dotted
from supervisor.cli.network_values import address
from supervisor.spec.units import parse_size

Json = dict[str, Any]

HOST_GATEWAY = "host-gateway"
"""What stands for the address by which a container reaches this host."""
ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
    *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)


def environment(text: str) -> str:
    """NAME=value as it is; NAME alone with this process's value, if it has one."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    return text if equals or name not in os.environ else f"{name}={os.environ[name]}"


def environment_file(path: str) -> list[str]:
    """The variables of an --env-file: NAME=value lines, `#` comments, NAME from outside."""
    variables: list[str] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        line = line.lstrip()
        name, equals, _ = line.partition("=")
        if not line or line.startswith("#"):
            continue
        if not name or name != "".join(name.split()):
            raise ValueError(f"{path}, line {number}: invalid variable name {name!r}")
        if equals:
            variables.append(line)
        elif name in os.environ:
            variables.append(f"{name}={os.environ[name]}")
    return variables


def label(text: str) -> tuple[str, str]:
    """A label and its value; the value may be left out."""
    name, _, value = text.partition("=")
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    return name, value


def assignment(text: str) -> tuple[str, str]:
    """NAME=value, both parts needed (--sysctl, --log-opt)."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError("NAME=value is expected")
    return name, value


def volume(text: str) -> str:
    """[SOURCE:]TARGET[:OPTIONS] with a source that begins with a dot made absolute."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError("too many colons; [SOURCE:]TARGET[:OPTIONS] is expected")
    if not all(parts):
        raise ValueError("empty section between colons")
    if len(parts) == 1:
        return text
    return ":".join([absolute_if_dotted(parts[0]), *parts[1:]])


def extra_host(text: str) -> str:
    """NAME:IP, also written NAME=IP as an IP may have colons; brackets around one are taken off."""
    name, separator, ip = text.partition("=" if "=" in text else ":")
    if not name or not separator:
        raise ValueError("NAME:IP is expected, or NAME:host-gateway")
    bare = ip[1:-1] if ip.startswith("[") and ip.endswith("]") else ip
    return f"{name}:{bare if bare == HOST_GATEWAY else address(bare)}"


def tmpfs(text: str) -> tuple[str, str]:
    """TARGET[:OPTIONS]."""
    target, _, options = text.partition(":")
    return target, options


def ulimit(text: str) -> Json:
    """NAME=SOFT[:HARD]; -1 is unlimited; the hard limit is the soft one where left out."""
    name, equals, numbers = text.partition("=")
    soft_text, colon, hard_text = numbers.partition(":")
    if not equals or name not in ULIMITS:
        raise ValueError(f"NAME=SOFT[:HARD] is expected, NAME one of {', '.join(ULIMITS)}")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if colon else soft
    except ValueError:
        raise ValueError(f"'{numbers}' is not SOFT[:HARD] in whole numbers") from None
    if hard != -1 and (soft > hard or soft == -1):
        raise ValueError(f"the soft limit must not be above the hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}


def device(text: str) -> Json:
    """HOST[:CONTAINER][:rwm]."""
    host, *more = text.split(":")
    access = more.pop() if more and _is_access(more[-1]) else "rwm"
    if not host or len(more) > 1:
        raise ValueError("HOST[:CONTAINER][:PERMISSIONS] is expected")
    inside = more[0] if more else host
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access}


def device_rate(text: str) -> Json:
    """PATH:BYTES for a device's bytes per second."""
    path, value = _device_value(text)
    return {"Path": path, "Rate": parse_size(value)}


def device_count(text: str) -> Json:
    """PATH:NUMBER for a device's operations per second."""
    path, value = _device_value(text)
    return {"Path": path, "Rate": _number(value)}


def device_weight(text: str) -> Json:
    """PATH:WEIGHT for a device's share of I/O."""
    path, value = _device_value(text)
    return {"Path": path, "Weight": _number(value)}


def restart_policy(text: str) -> Json:
    """no, always, unless-stopped or on-failure[:MAX-RETRIES]."""
    name, colon, retries = text.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure"):
        raise ValueError("no, always, unless-stopped or on-failure[:MAX-RETRIES] is expected")
    if colon and name != "on-failure":
        raise ValueError("a number of retries goes with on-failure only")
    if retries.startswith("-") and retries[1:].isdecimal():
        raise ValueError("maximum retry count cannot be negative")
    if colon and not (retries.isascii() and retries.isdecimal()):
        raise ValueError("maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(retries or 0)}


def security_option(text: str) -> str:
    """One --security-opt; a seccomp profile's file is sent as its content."""
    name, separator, value = text.partition("=")
    if not separator:
        name, separator, value = text.partition(":")
    if not separator and text != "no-new-privileges":
        raise ValueError("NAME=VALUE or no-new-privileges is expected")
    if name == "seccomp" and value not in ("unconfined", "builtin"):
        return f"seccomp={_one_line(value)}"
    return text


def _one_line(path: str) -> str:
    """The JSON in a file, without its line ends and indents."""
    text = _text(path)
    try:
        return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm")


def _device_value(text: str) -> tuple[str, str]:
    path, colon, value = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise ValueError("/dev/PATH:NUMBER is expected")
    return path, value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"'{text}' is not a whole number")
    return int(text)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"open {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: invalid UTF-8 at byte {error.start}") from None


def pull_policy(text: str) -> str:
    """When to pull; raises ValueError."""
    if text not in ("always", "missing", "never"):
        raise ValueError("always, missing or never is expected")
    return text
