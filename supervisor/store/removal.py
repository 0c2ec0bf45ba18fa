"""What removing an image means, decided without touching anything; docker's rules and words.

A name only loses that tag as long as others are left. The last tag takes the image with
it, and so does an id. In the way may stand, softly (`force` overrides): several tags when
an id was given, stopped containers; and hard: running containers. See "docker image rm"
and moby's daemon/images/image_delete.go, whose messages clients and tests look for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from supervisor.errors import Conflict
from supervisor.store.image import Image

_SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """A container made from an image, running or not, and the root's lower folders."""

    container: str
    image_id: str
    running: bool
    lowers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """`untag` goes, in this order; then the image, if `delete`.

    `keep_layers`: a stopped container stands on them, so they go with the last container.
    """

    untag: tuple[str, ...]
    delete: bool
    keep_layers: bool = False


def plan_removal(
    image: Image, tag: str, ref: str, uses: Collection[ImageUse], *, held: bool, force: bool
) -> Removal:
    """What to do for `ref`, which found `image` by its `tag`, or by its id if that is "".

    `uses` are the containers of this image; `held` says that one is just being made of it.
    Raises Conflict.
    """
    if tag:
        return _by_tag(image, tag, ref, uses, held=held, force=force)
    _check_running(image, uses, held=held)
    if len(image.tags) > 1 and not force:
        raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
    if uses and not force:
        container = _short(_first(uses))
        raise _conflict(
            image, "must be forced", f"image is being used by stopped container {container}"
        )
    return Removal(untag=image.tags, delete=True, keep_layers=bool(uses))


def _by_tag(
    image: Image, tag: str, ref: str, uses: Collection[ImageUse], *, held: bool, force: bool
) -> Removal:
    if len(image.tags) > 1:
        return Removal(untag=(tag,), delete=False)
    if uses and not force:
        raise Conflict(
            f'conflict: unable to remove repository reference "{ref}" (must force) - '
            f"container {_short(_first(uses))} is using its referenced image {_short(image.id)}"
        )
    if held and not force:
        _check_running(image, (), held=True)
    # Forced, the tag goes in any case; docker then quietly leaves a running container's
    # image behind, dangling.
    in_the_way = held or any(use.running for use in uses)
    return Removal(untag=(tag,), delete=not in_the_way, keep_layers=bool(uses))


def _check_running(image: Image, uses: Collection[ImageUse], *, held: bool) -> None:
    running = [use for use in uses if use.running]
    if running:
        container = _short(_first(running))
        raise _conflict(
            image, "cannot be forced", f"image is being used by running container {container}"
        )
    if held:
        raise _conflict(
            image, "cannot be forced", "image is being used by a container that is being created"
        )


def _conflict(image: Image, how: str, why: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {_short(image.id)} ({how}) - {why}")


def _first(uses: Collection[ImageUse]) -> str:
    return min(use.container for use in uses)


def _short(id: str) -> str:
    return id.removeprefix("sha256:")[:_SHORT]
