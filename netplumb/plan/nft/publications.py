"""Published ports and their elements, some of which several ports share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from netplumb.errors import Taken
from netplumb.plan.model import PortBinding, authority
from netplumb.plan.nft.elements import of_binding
from netplumb.plan.nft.objects import Element

_Key = tuple[int, str, bytes]


class _Held(msgspec.Struct):
    """An element and the bindings that need it."""

    element: Element
    by: list[PortBinding]


class Publications:
    """What is published. Each change costs as much as what is changed, not as what there is."""

    def __init__(self, bindings: Iterable[PortBinding] = ()) -> None:
        self._bindings: dict[PortBinding, None] = {}
        self._held: dict[_Key, _Held] = {}
        self.add(tuple(bindings))

    def __iter__(self) -> Iterator[PortBinding]:
        return iter(self._bindings)

    def __contains__(self, binding: object) -> bool:
        return binding in self._bindings

    def elements(self) -> set[Element]:
        """All elements."""
        return {held.element for held in self._held.values()}

    def add(self, bindings: Sequence[PortBinding]) -> set[Element]:
        """Publish these, all or none; the elements that this adds. Taken if one leads elsewhere.

        What is published already adds nothing.
        """
        new = [binding for binding in dict.fromkeys(bindings) if binding not in self._bindings]
        added: set[Element] = set()
        done: list[PortBinding] = []
        try:
            for binding in new:
                added |= self._add(binding)
                done.append(binding)
        except Taken:
            self.remove(done)
            raise
        return added

    def _add(self, binding: PortBinding) -> set[Element]:
        wanted = {(e.family, e.set, e.key): e for e in of_binding(binding)}
        for key, element in wanted.items():
            held = self._held.get(key)
            if held is not None and held.element != element:
                raise Taken(
                    f"Bind for {authority(binding.host_ip)}:{binding.host_port} failed: port is "
                    f"already allocated by container {held.by[0].container}"
                )
        self._bindings[binding] = None
        added = {element for key, element in wanted.items() if key not in self._held}
        for key, element in wanted.items():
            self._held.setdefault(key, _Held(element, [])).by.append(binding)
        return added

    def remove(self, bindings: Iterable[PortBinding]) -> set[Element]:
        """Publish these no more; the elements that go with them."""
        gone: set[Element] = set()
        for binding in bindings:
            if binding not in self._bindings:
                continue
            del self._bindings[binding]
            for element in of_binding(binding):
                key = element.family, element.set, element.key
                held = self._held[key]
                held.by.remove(binding)
                if not held.by:
                    del self._held[key]
                    gone.add(element)
        return gone
