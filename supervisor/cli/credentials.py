"""The user's credentials for registries: docker's configuration file, shared with docker.

$DOCKER_CONFIG/config.json, or ~/.docker/config.json. Secrets in a credential helper stay
there: Orlop starts no other programs for them.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from supervisor.cli.failures import Failure
from supervisor.oci.docker_config import DockerConfig


def path() -> Path:
    """The file, there or not."""
    folder = os.environ.get("DOCKER_CONFIG")
    return Path(folder or Path.home() / ".docker") / "config.json"


def load() -> DockerConfig:
    """The configuration; empty where there is none."""
    file = path()
    try:
        return DockerConfig(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        return DockerConfig()
    except UnicodeDecodeError:
        raise Failure(f"{file}: not UTF-8") from None
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from None


def save(config: DockerConfig) -> None:
    """Put it in place of the file, for its owner's eyes only; a link to it stays one."""
    file = path()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = file.resolve()
        temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as out:
                out.write(config.text())
                out.flush()
                os.fsync(fd)
            temporary.replace(file)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from None


def header(server: str) -> dict[str, str]:
    """X-Registry-Auth for a registry (host[:port]); of nobody where nothing is stored."""
    config = load()
    found = config.auth(server)
    if not found and (helper := config.left_to(server)):
        print(
            f"WARNING: the credentials for {server} are kept by docker-credential-{helper}, which "
            "orlop does not ask: going on without",
            file=sys.stderr,
        )
    text = json.dumps(found, separators=(",", ":")).encode()
    return {"X-Registry-Auth": base64.urlsafe_b64encode(text).decode()}
