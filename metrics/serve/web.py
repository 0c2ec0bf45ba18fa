"""The web-config file in force: read again when it or a certificate has changed."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from metrics.errors import ConfigError
from metrics.serve import tls, web_config
from metrics.serve.web_config import WebConfig

log = logging.getLogger("orlop.metrics")

LOOK_SECONDS = 1.0
MAX_SIZE = 1 << 20

State = tuple[tuple[int, int, int], ...]


class Web:
    """`config` and `context` (None = plain HTTP) are what holds now. Without a file, all may read.

    A change that is wrong is logged once and the old settings hold on.
    """

    def __init__(self, path: str = "", *, clock: Callable[[], float]) -> None:
        """ConfigError, with the file's name."""
        self._path = Path(path) if path else None
        self._clock = clock
        self._looked = clock()
        self.config = WebConfig()
        self.context: ssl.SSLContext | None = None
        self._seen: State = ()
        if self._path is not None:
            self._load(self._path)

    def refresh(self) -> None:
        """Look for a change, at most once a second."""
        now = self._clock()
        if self._path is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        before = self._seen
        if self._state(self._path) != before:
            try:
                self._load(self._path)
            except ConfigError as error:
                log.warning("%s; the old settings hold on", error)
            else:
                log.info("%s was read again", self._path)

    def _load(self, path: Path) -> None:
        try:
            # What is wrong now is not looked at again before it changes.
            self._seen = self._state(path)
            config = web_config.parse(_read(path), path.parent)
            context = tls.context(config.tls) if config.tls else None
            if self.config != WebConfig() == config:
                # A file that is being written is empty for a moment.
                raise ConfigError("it has neither TLS nor users any more; that takes a restart")
        except ConfigError as error:
            raise ConfigError(f"web config file {path}: {error}") from None
        self.config, self.context = config, context
        self._seen = self._state(path)

    def _state(self, path: Path) -> State:
        """What changes when a file does; a missing one is a state, too."""
        files = (path, *(self.config.tls.files if self.config.tls else ()))
        return tuple(_identity(file) for file in files)


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None
    if len(data) > MAX_SIZE:
        raise ConfigError(f"it is larger than {MAX_SIZE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError("it is no UTF-8 text") from None
