"""What removing an image means, decided without touching anything; docker's rules and words.

A name only loses that tag as long as others are left. The last tag takes the image with
it, and so does an id. In the way may stand, softly (`force` overrides): several tags when
an id was given, stopped containers; and hard: running containers. See "docker image rm"
and moby's daemon/images/image_delete.go, whose messages clients and tests look for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from supervisor.errors import Conflict
from supervisor.store.image import Image

_SHORT = 12


class ImageUse(msgspec.Struct, frozen=True, kw_only=True):
    """A container made from an image, running or not, and the root's lower folders."""

    container: str
    image_id: str
    running: bool
    lowers: tuple[str, ...] = ()


Uses = Callable[[], Iterable[ImageUse]]
"""All containers with their images, as they are at the moment of the call."""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """`untag` goes, in this order; then the image, if `delete`.

    `keep_layers`: a stopped container stands on them, so they go with the last container.
    """

    untag: tuple[str, ...]
    delete: bool
    keep_layers: bool = False


def plan_removal(
    image: Image, name: str, ref: str, uses: Collection[ImageUse], *, held: bool, force: bool
) -> Removal:
    """What to do for `ref`, which found `image` by its `name` (a tag or a repository digest),
    or by its id if that is "".

    `uses` are the containers of this image; `held` says that one is just being made of it.
    Raises Conflict.
    """
    if name:
        return _by_name(image, name, ref, uses, held=held, force=force)
    _check_running(image, uses, held=held)
    if not _one_repository(image) and not force:
        raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
    if uses and not force:
        container = _short(_first(uses))
        raise _conflict(
            image, "must be forced", f"image is being used by stopped container {container}"
        )
    return Removal(untag=_names(image), delete=True, keep_layers=bool(uses))


def _by_name(
    image: Image, name: str, ref: str, uses: Collection[ImageUse], *, held: bool, force: bool
) -> Removal:
    if uses and not force and _one_repository(image):
        raise Conflict(
            f'conflict: unable to remove repository reference "{ref}" (must force) - '
            f"container {_short(_first(uses))} is using its referenced image {_short(image.id)}"
        )
    untag = _untagged_with(image, name)
    if len(untag) < len(_names(image)):
        return Removal(untag=untag, delete=False)
    if held and not force:
        _check_running(image, (), held=True)
    # Forced, the name goes in any case; docker then quietly leaves a running container's
    # image behind, dangling.
    in_the_way = held or any(use.running for use in uses)
    return Removal(untag=untag, delete=not in_the_way, keep_layers=bool(uses))


def _untagged_with(image: Image, name: str) -> tuple[str, ...]:
    """The name, and with a repository's last tag its digests, too."""
    tags = [tag for tag in image.tags if tag != name]
    if name not in image.tags or _repository(name) in map(_repository, tags):
        return (name,)
    digests = [d for d in image.repo_digests if _repository(d) == _repository(name)]
    return (name, *digests)


def _one_repository(image: Image) -> bool:
    """Whether all names are at most one tag and digests of its repository."""
    repositories = {_repository(name) for name in _names(image)}
    return len(image.tags) <= 1 and len(repositories) <= 1


def _names(image: Image) -> tuple[str, ...]:
    return (*image.tags, *image.repo_digests)


def _repository(name: str) -> str:
    head, at, _ = name.partition("@")
    return head if at else head.rpartition(":")[0]


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
