"""Label blocks: `{id="…",name="…"`, without the closing brace, so that more may follow.

Whatever a container is called, the block is valid: quotes, backslashes and newlines are
escaped, what is not Unicode is replaced, what is too long or too much is cut and counted.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metrics.model import Container

MAX_VALUE = 200
"""Characters of a label's value; Prometheus refuses a whole scrape over its own limit."""

MAX_LABELS = 24
"""Container labels that become Prometheus labels."""

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_FINGERPRINT = 9


class Blocks(NamedTuple):
    """One container's blocks: of cAdvisor's families, of ours by name, and of its info."""

    full: str
    name: str
    info: str


def clean(text: str, capped: Counter[str]) -> str:
    """The text as far as it is Unicode and not too long."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if len(text) > MAX_VALUE:
        capped["label_value"] += 1
        # Two long names that begin alike must stay two.
        fingerprint = f"~{zlib.crc32(text.encode()):08x}"
        text = text[: MAX_VALUE - _FINGERPRINT] + fingerprint
    return text


def value(text: str, capped: Counter[str]) -> str:
    """The text as it stands between the quotes."""
    text = clean(text, capped)
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def block(labels: Iterable[tuple[str, str]], capped: Counter[str]) -> str:
    """`{a="…",b="…"`; the names must be valid ones."""
    return "{" + ",".join(f'{name}="{value(text, capped)}"' for name, text in labels)


def suffix(name: str, text: str, capped: Counter[str]) -> str:
    """`,name="…"`: one label more for a block."""
    return f',{name}="{value(text, capped)}"'


def blocks(container: Container, allowed: Iterable[str], capped: Counter[str]) -> Blocks:
    """The blocks of a container; of its labels those that are `allowed`."""
    name = container.name or container.id[:12]
    image = container.image or "<none>"
    identity = [("id", container.cgroup), ("image", image), ("name", name)]
    info = [
        ("id", container.id),
        ("name", name),
        ("image", image),
        ("image_digest", container.image_digest),
        ("network_mode", container.network_mode),
        ("restart_policy", container.restart_policy),
    ]
    return Blocks(
        block([*identity, *_of_container(container.labels, allowed, capped)], capped),
        block([("name", name)], capped),
        block(info, capped),
    )


def _of_container(
    labels: Mapping[str, str], allowed: Iterable[str], capped: Counter[str]
) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for name in allowed:
        if name not in labels:
            continue
        sanitised = "container_label_" + _NOT_IN_NAMES.sub("_", name)
        if sanitised in found:  # a-b and a.b become one: the first on the list has it
            capped["label_name"] += 1
        elif len(found) >= MAX_LABELS:
            capped["label_count"] += 1
        else:
            found[sanitised] = labels[name]
    return list(found.items())
