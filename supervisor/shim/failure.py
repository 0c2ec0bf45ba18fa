"""Turning what went wrong in a named step into the one typed error that crosses processes."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from supervisor.errors import InitError, KernelError, OrlopError

Context = TypeVar("Context")


def run_steps(steps: Sequence[tuple[str, Callable[[Context], None]]], context: Context) -> None:
    """Run named steps in order; the first failure becomes an InitError with the step's name."""
    for name, step in steps:
        try:
            step(context)
        except (OSError, OrlopError, ValueError) as error:
            raise describe(name, error) from None


def describe(step: str, error: Exception) -> InitError:
    """The InitError of `error` in `step`; an InitError passes unchanged."""
    if isinstance(error, InitError):
        return error
    if isinstance(error, KernelError):
        return InitError(
            step=step, path=error.path, errno=error.errno or 0, message=f"{step}: {error}"
        )
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        text = f"{path}: {error.strerror}" if path else str(error.strerror or error)
        return InitError(step=step, path=path, errno=error.errno or 0, message=f"{step}: {text}")
    return InitError(step=step, path="", errno=0, message=f"{step}: {error}")


def on_one_line(error: InitError) -> bytes:
    """Its sentence for a client's screen, where a name in it may not do what a terminal obeys."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in error.message)
    return text.encode()
