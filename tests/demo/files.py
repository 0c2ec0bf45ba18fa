"""The layered filesystem."""

from __future__ import annotations

from tests.demo.stage import Stage


def copy_up(stage: Stage) -> None:
    """Two containers over one layer: what one writes is its own."""
    stage.chapter(
        "Layers",
        "Two containers share the image's unpacked layer. The first write to a file copies it up "
        "into the container's own upper folder; the layer and the other container do not change.",
    )
    original = (stage.layer() / "etc/passwd").read_text()
    first, second = stage.start("sleep 60"), stage.start("sleep 60")
    inodes = [
        stage.orlop("exec", name, "stat", "-c", "%i", "/bin/busybox").stdout.strip()
        for name in (first, second)
    ]
    lower = str((stage.layer() / "bin/busybox").stat().st_ino)
    stage.check(f"one busybox for both: inode {lower}", inodes == [lower, lower])
    stage.orlop("exec", first, "sh", "-c", "echo sailor:x:7:7::/: >> /etc/passwd")
    upper = stage.daemon.data_root / "containers" / first / "upper"
    copied = (upper / "etc/passwd").read_text()
    stage.check("the changed file was copied up", copied != original and original in copied)
    changes = stage.orlop("diff", first).stdout.splitlines()
    stage.check("nothing else changed", changes == ["C /etc", "C /etc/passwd"])
    stage.check(
        "the first one sees its line",
        "sailor" in stage.orlop("exec", first, "tail", "-n1", "/etc/passwd").stdout,
    )
    other = stage.orlop("exec", second, "cat", "/etc/passwd", shown=False).stdout
    stage.check("the second one sees the file as it was", other == original)
    stage.check("so is the layer", (stage.layer() / "etc/passwd").read_text() == original)
    stage.remove(first, second)
    stage.check("the upper went with its container", not upper.exists())


def read_only(stage: Stage) -> None:
    """--read-only with a tmpfs."""
    stage.chapter(
        "A read-only root",
        "With --read-only nothing of the image can be written; a --tmpfs folder in memory can.",
    )
    text = stage.run(
        *("--read-only", "--tmpfs", "/tmp"),
        "echo x > /etc/x; echo kept > /tmp/x; cat /tmp/x; ls /etc/x 2>&1",
    )
    stage.check("/tmp took the file", "kept" in text)
    stage.check("/etc did not", "/etc/x: No such file" in text)
