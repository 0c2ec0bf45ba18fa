"""Whose writable layers are measured, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from supervisor.engine.disk_usage import written
from supervisor.store.folder_sizes import FolderSize

SIZE = FolderSize(content=5, on_disk=512)


class Sizes:
    """Of every folder but those of `gone`; another question looks into `shared` already."""

    def __init__(self, gone: str = "", shared: str = "") -> None:
        self.gone = gone
        self.shared = shared
        self.asked: list[str] = []

    async def of(
        self, folders: Iterable[str], tell: Callable[[str, FolderSize], None]
    ) -> dict[str, FolderSize]:
        self.asked = list(folders)
        found = {folder: SIZE for folder in self.asked if Path(folder).parent.name != self.gone}
        for folder, size in found.items():
            if Path(folder).parent.name != self.shared:
                tell(folder, size)
        return found


class Engine:
    def __init__(self, sizes: Sizes) -> None:
        self.told: list[tuple[str, str, int]] = []
        root = Path("/data/containers")
        self.host = SimpleNamespace(
            sizes=sizes,
            root=SimpleNamespace(containers=root),
            bundle=lambda container: root / container.id,
        )
        self.metering = SimpleNamespace(written=lambda *words: self.told.append(words))


def container(id: str, *, writable: bool = False) -> Any:
    return SimpleNamespace(id=id, record=SimpleNamespace(rootfs_writable=writable))


async def ask(engine: Engine, *containers: Any) -> dict[str, int]:
    return await written(engine, containers)  # type: ignore[arg-type]


async def test_all_layers_are_one_question() -> None:
    engine = Engine(sizes := Sizes())
    found = await ask(engine, container("a"), container("b"), container("c", writable=True))
    assert sizes.asked == ["/data/containers/a/upper", "/data/containers/b/upper"]
    assert found == {"a": 5, "b": 5}, "a folder that is written to itself has no layer"


async def test_metrics_hear_once_of_what_is_known() -> None:
    engine = Engine(Sizes(gone="b", shared="c"))
    found = await ask(engine, container("a"), container("b"), container("c"))
    assert found == {"a": 5, "c": 5}
    assert engine.told == [("a", "/data/containers", 512)], "of a place that cannot go meanwhile"
