"""What `docker image rm` does in each case, as a table."""

from __future__ import annotations

import pytest

from supervisor.errors import Conflict
from supervisor.store.image import Image
from supervisor.store.removal import ImageUse, Removal, plan_removal

ID = "sha256:" + "ab" * 32
SHORT = "abababababab"
RUNNING = ImageUse(container="1" * 64, image_id=ID, running=True)
STOPPED = ImageUse(container="2" * 64, image_id=ID, running=False)


def image(*tags: str) -> Image:
    return Image(id=ID, tags=tags)


def plan(
    tags: tuple[str, ...],
    tag: str,
    *uses: ImageUse,
    held: bool = False,
    force: bool = False,
) -> Removal:
    return plan_removal(image(*tags), tag, tag or ID, uses, held=held, force=force)


def test_one_of_several_tags_goes_alone_whatever_uses_the_image() -> None:
    for force in (False, True):
        removal = plan(("a:1", "b:1"), "b:1", RUNNING, STOPPED, held=True, force=force)
        assert removal == Removal(untag=("b:1",), delete=False)


def test_the_last_tag_takes_the_image_along() -> None:
    assert plan(("a:1",), "a:1") == Removal(untag=("a:1",), delete=True)


A_DIGEST, B_DIGEST = (f"{name}@sha256:{'e' * 64}" for name in ("a", "b"))


@pytest.mark.parametrize(
    "tags, digests, name, expected",
    [
        (("a:1",), (A_DIGEST,), "a:1", Removal(untag=("a:1", A_DIGEST), delete=True)),
        (("a:1", "a:2"), (A_DIGEST,), "a:1", Removal(untag=("a:1",), delete=False)),
        (("a:1", "b:1"), (A_DIGEST,), "a:1", Removal(untag=("a:1", A_DIGEST), delete=False)),
        (("a:1",), (B_DIGEST,), "a:1", Removal(untag=("a:1",), delete=False)),
        (("a:1",), (A_DIGEST,), A_DIGEST, Removal(untag=(A_DIGEST,), delete=False)),
        ((), (A_DIGEST,), A_DIGEST, Removal(untag=(A_DIGEST,), delete=True)),
        ((), (A_DIGEST,), "", Removal(untag=(A_DIGEST,), delete=True)),
        (("a:1",), (A_DIGEST,), "", Removal(untag=("a:1", A_DIGEST), delete=True)),
        (("h:5000/x:1",), (), "h:5000/x:1", Removal(untag=("h:5000/x:1",), delete=True)),
    ],
)
def test_digests_go_with_the_last_tag_of_their_repository(
    tags: tuple[str, ...], digests: tuple[str, ...], name: str, expected: Removal
) -> None:
    named = Image(id=ID, tags=tags, repo_digests=digests)
    assert plan_removal(named, name, name, (), held=False, force=False) == expected


def test_an_id_with_names_in_two_repositories_must_be_forced() -> None:
    named = Image(id=ID, tags=("a:1",), repo_digests=(B_DIGEST,))
    with pytest.raises(Conflict, match="multiple repositories"):
        plan_removal(named, "", ID, (), held=False, force=False)
    forced = plan_removal(named, "", ID, (), held=False, force=True)
    assert forced == Removal(untag=("a:1", B_DIGEST), delete=True)


def test_an_id_takes_the_only_tag_along() -> None:
    assert plan(("a:1",), "") == Removal(untag=("a:1",), delete=True)
    assert plan((), "") == Removal(untag=(), delete=True)


def test_an_id_with_several_tags_must_be_forced() -> None:
    with pytest.raises(Conflict) as caught:
        plan(("a:1", "b:1"), "")
    assert caught.value.message == (
        f"conflict: unable to delete {SHORT} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert plan(("a:1", "b:1"), "", force=True) == Removal(untag=("a:1", "b:1"), delete=True)


@pytest.mark.parametrize("use, short", [(RUNNING, "1" * 12), (STOPPED, "2" * 12)])
def test_the_last_tag_of_a_used_image_must_be_forced(use: ImageUse, short: str) -> None:
    with pytest.raises(Conflict) as caught:
        plan_removal(image("a:1"), "a:1", "a", [use], held=False, force=False)
    assert caught.value.message == (
        'conflict: unable to remove repository reference "a" (must force) - '
        f"container {short} is using its referenced image {SHORT}"
    )


def test_forced_the_last_tag_of_a_running_container_leaves_it_dangling() -> None:
    removal = plan(("a:1",), "a:1", RUNNING, STOPPED, force=True)
    assert (removal.untag, removal.delete) == (("a:1",), False)


def test_forced_the_layers_stay_for_a_stopped_container() -> None:
    expected = Removal(untag=("a:1",), delete=True, keep_layers=True)
    assert plan(("a:1",), "a:1", STOPPED, force=True) == expected
    assert plan(("a:1",), "", STOPPED, force=True) == expected


@pytest.mark.parametrize("tags", [(), ("a:1",), ("a:1", "b:1")])
@pytest.mark.parametrize("force", [False, True])
def test_by_id_a_running_container_cannot_be_forced(tags: tuple[str, ...], force: bool) -> None:
    with pytest.raises(Conflict) as caught:
        plan(tags, "", STOPPED, RUNNING, force=force)
    assert caught.value.message == (
        f"conflict: unable to delete {SHORT} (cannot be forced) - "
        f"image is being used by running container {'1' * 12}"
    )


def test_by_id_a_stopped_container_must_be_forced() -> None:
    with pytest.raises(Conflict) as caught:
        plan(("a:1",), "", STOPPED)
    assert caught.value.message == (
        f"conflict: unable to delete {SHORT} (must be forced) - "
        f"image is being used by stopped container {'2' * 12}"
    )


def test_an_image_of_which_a_container_is_being_made_stays() -> None:
    for tag, force in (("", False), ("", True), ("a:1", False)):
        with pytest.raises(Conflict, match="container that is being created"):
            plan(("a:1",), tag, held=True, force=force)
    assert not plan(("a:1",), "a:1", held=True, force=True).delete
