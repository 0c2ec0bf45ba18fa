"""Nothing is left."""

from __future__ import annotations

from tests.demo.stage import IMAGE, Stage
from tests.support import leaks

SETTLE_SECONDS = 5.0


def nothing_left(stage: Stage) -> None:
    """Containers, image and supervisor go; the machine is as it was."""
    stage.chapter(
        "Clean-up",
        "The last containers and the image are removed, the supervisor is stopped. Mounts, network "
        "namespaces, cgroups and processes of the machine are compared with those before.",
    )
    stage.orlop("rm", "ends", "stays")
    stage.orlop("rmi", IMAGE)
    root = stage.daemon.data_root
    left = [*root.glob("containers/*"), *root.glob("layers/*"), *root.glob("blobs/sha256/*")]
    stage.check("no container, layer or blob on disk", not left)
    stage.check("the supervisor ends with status 0", stage.daemon.stop() == 0)
    stage.check("no shim, zygote or container runs", not stage.daemon.processes())
    stage.check("no cgroup of ours", not leaks.cgroups(stage.daemon.cgroup_parent))
    now = leaks.Snapshot.take()
    stage.check("no mount more than before", now.mounts <= stage.before.mounts)
    stage.check(
        "no network namespace more than before",
        now.network_namespaces <= stage.before.network_namespaces,
    )
