"""Has the daemon pull what images a project needs, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.cli.apply import wanted
from supervisor.cli.apply.observe import image_id
from supervisor.cli.client import Client
from supervisor.cli.commands.registries import pull_image
from supervisor.cli.failures import DaemonError, Failure, StreamFailed
from supervisor.errors import OrlopError
from supervisor.oci.reference import parse

_DEFAULT = "missing"


def missing_images(client: Client, project: wanted.Project) -> list[str]:
    """Images that are not here."""
    return [ref for ref in _policies(project, "") if image_id(client, ref) is None]


def pull_images(
    client: Client, project: wanted.Project, policy: str, say: Callable[[str], None]
) -> None:
    """Pull as `policy` says (always, missing, never; "": as the services do); Failure."""
    for ref, when in _policies(project, policy).items():
        here = image_id(client, ref) is not None
        if when == "always" or (when == "missing" and not here):
            _pull(client, ref)
            say(f"+ pull image {ref}")
        elif not here:
            raise Failure(f"image {ref} is not here, and is never to be pulled: nothing was done")


def _pull(client: Client, ref: str) -> None:
    try:
        pull_image(client, parse(ref).with_default_tag(), None, quiet=False, aside=True)
    except (DaemonError, StreamFailed, OrlopError) as error:
        why = error.reason if isinstance(error, DaemonError) else error.message
        raise Failure(f"image {ref} cannot be pulled: {why}: nothing was done") from None


def _policies(project: wanted.Project, policy: str) -> dict[str, str]:
    """Of several services with one image the most eager one counts."""
    found: dict[str, str] = {}
    for service in project.services:
        if not service.containers:
            continue
        asked = policy or service.pull or _DEFAULT
        before = found.get(service.image, "never")
        found[service.image] = max(before, asked, key=("never", "missing", "always").index)
    return found
