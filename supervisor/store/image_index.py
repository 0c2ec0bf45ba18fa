"""All images of a store in memory, and how a name or an id finds one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from supervisor.errors import NotFound
from supervisor.oci import reference
from supervisor.store.image import Image


class ImageIndex:
    """Images by id and by name. Each tag and each repository digest belongs to one image, the
    last that was kept with it.
    """

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}
        self._by_name: dict[str, str] = {}

    def __iter__(self) -> Iterator[Image]:
        return iter(self._images.values())

    def __contains__(self, id: object) -> bool:
        return id in self._images

    def by_id(self, id: str) -> Image | None:
        """By full id, removed ones too."""
        return self._images.get(id)

    def by_name(self, name: str) -> Image | None:
        """By a familiar tag or repository digest."""
        return self._images.get(self._by_name.get(name, ""))

    def keep(self, image: Image) -> None:
        """Take in an image, in place of what was known under its id."""
        self.drop(image.id)
        self._images[image.id] = image
        self._by_name.update((name, image.id) for name in (*image.tags, *image.repo_digests))

    def drop(self, id: str) -> None:
        """Forget an image."""
        image = self._images.pop(id, None)
        for name in (*image.tags, *image.repo_digests) if image else ():
            if self._by_name.get(name) == id:
                del self._by_name[name]

    def resolve(self, ref: str) -> tuple[Image, str]:
        """The image and the tag or repository digest that found it, "" if its id did.

        As in docker, a name goes before an id prefix, an ambiguous prefix finds nothing, and
        of a name with both a tag and a digest the digest counts.
        Raises NotFound or InvalidArgument in docker's words.
        """
        if reference.is_full_id(ref):
            image = self._images.get(f"sha256:{ref.removeprefix('sha256:')}")
            if image is None or image.removed:
                raise NotFound(f"No such image: sha256:{ref.removeprefix('sha256:')}")
            return image, ""
        wanted = reference.parse(ref).with_default_tag()
        if wanted.digest is not None:
            wanted = replace(wanted, tag="")
        name = wanted.familiar
        named = self.by_name(name)
        if named is not None:
            return named, name
        prefix = reference.id_prefix(ref)
        matches = [
            image
            for image in self._images.values()
            if prefix and image.id.startswith(f"sha256:{prefix}") and not image.removed
        ]
        if len(matches) != 1:
            raise NotFound(f"No such image: {name}")
        return matches[0], ""
