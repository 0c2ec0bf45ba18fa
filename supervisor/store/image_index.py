"""All images of a store in memory, and how a name or an id finds one."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.errors import NotFound
from supervisor.oci import reference
from supervisor.store.image import Image


class ImageIndex:
    """Images by id and by tag. Each tag belongs to one image, the last that was kept with it."""

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}
        self._by_tag: dict[str, str] = {}

    def __iter__(self) -> Iterator[Image]:
        return iter(self._images.values())

    def __contains__(self, id: object) -> bool:
        return id in self._images

    def by_id(self, id: str) -> Image | None:
        """By full id, removed ones too."""
        return self._images.get(id)

    def by_tag(self, tag: str) -> Image | None:
        """By a familiar tag."""
        return self._images.get(self._by_tag.get(tag, ""))

    def keep(self, image: Image) -> None:
        """Take in an image, in place of what was known under its id."""
        self.drop(image.id)
        self._images[image.id] = image
        self._by_tag.update((tag, image.id) for tag in image.tags)

    def drop(self, id: str) -> None:
        """Forget an image."""
        image = self._images.pop(id, None)
        for tag in image.tags if image else ():
            if self._by_tag.get(tag) == id:
                del self._by_tag[tag]

    def resolve(self, ref: str) -> tuple[Image, str]:
        """The image and the tag that found it, "" if its id did.

        As in docker, a name goes before an id prefix, and an ambiguous prefix finds nothing.
        Raises NotFound or InvalidArgument in docker's words.
        """
        if reference.is_full_id(ref):
            image = self._images.get(f"sha256:{ref.removeprefix('sha256:')}")
            if image is None or image.removed:
                raise NotFound(f"No such image: sha256:{ref.removeprefix('sha256:')}")
            return image, ""
        tag = reference.parse(ref).with_default_tag().familiar
        named = self.by_tag(tag)
        if named is not None:
            return named, tag
        prefix = reference.id_prefix(ref)
        matches = [
            image
            for image in self._images.values()
            if prefix and image.id.startswith(f"sha256:{prefix}") and not image.removed
        ]
        if len(matches) != 1:
            raise NotFound(f"No such image: {tag}")
        return matches[0], ""
