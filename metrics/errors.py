"""What can go wrong for a reason that a person can do something about."""

from __future__ import annotations


class MetricsError(Exception):
    """The message is one sentence that names what is wrong."""


class ConfigError(MetricsError):
    """An address or a web-config file is not what it should be."""


class AddressError(MetricsError):
    """The address cannot be listened on: in use, not this host's, or not allowed."""


class Malformed(ValueError):
    """Bytes from the kernel do not look as documented."""
