"""The labels by which `apply` knows again what it has made.

They are its own and not docker compose's: compose takes every container with its labels for one
of its projects, and would make ours anew, or remove them. So neither touches the other's.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

Json = dict[str, Any]

PREFIX = "orlop.apply."
PROJECT = PREFIX + "project"
SERVICE = PREFIX + "service"
NUMBER = PREFIX + "number"
NETWORK = PREFIX + "network"
VOLUME = PREFIX + "volume"
HASH = PREFIX + "config-hash"
CONFIG = PREFIX + "config"
COMPOSE_PROJECT = "com.docker.compose.project"


def config_text(config: Json) -> str:
    """One text for one configuration, whatever the order of its keys."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def config_hash(text: str) -> str:
    """What is compared to tell whether a configuration has changed."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def config_of(labels: dict[str, str]) -> Json:
    """The configuration that something was made from; {} if it does not tell."""
    try:
        value = json.loads(labels.get(CONFIG, ""))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def marked(config: Json, own: dict[str, str]) -> dict[str, str]:
    """The labels of what is made from `config`: those it asks for, and ours."""
    text = config_text(config)
    return {**config.get("Labels", {}), **own, HASH: config_hash(text), CONFIG: text}
