"""The image endpoints: lists, history, tags, archives, commits, pruning, disk usage."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from supervisor.docker.commit import CommitOptions
from supervisor.oci.platform import Platform
from tests.unit.api.conftest import Api
from tests.unit.api.fake_engine import IMAGE

TAR = {"Content-Type": "application/x-tar"}


def filters(**values: str) -> str:
    return quote(json.dumps({name: [value] for name, value in values.items()}))


async def test_the_list_counts_containers_and_sizes(api: Api) -> None:
    await api.create("echo")
    [row] = (await api.call("GET", "/images/json")).json()
    assert (row["Containers"], row["SharedSize"], row["RepoDigests"]) == (1, -1, [])
    [row] = (await api.call("GET", "/images/json?shared-size=1")).json()
    assert row["SharedSize"] == 5


@pytest.mark.parametrize(
    "asked, shown",
    [
        (filters(reference="tools"), 1),
        (filters(reference="t*:latest"), 1),
        (filters(reference="other"), 0),
        (filters(before="tools"), 0),
        (filters(since="tools"), 0),
        (filters(until="1h"), 1),
        (filters(until="2001-01-01"), 0),
        (filters(label="from=image"), 1),
        (filters(**{"label!": "from"}), 0),
    ],
)
async def test_filters_of_the_list(api: Api, asked: str, shown: int) -> None:
    assert len((await api.call("GET", f"/images/json?filters={asked}")).json()) == shown


@pytest.mark.parametrize(
    "asked, text",
    [
        (filters(colour="red"), "invalid filter 'colour'"),
        (filters(before="nope"), "No such image: nope:latest"),
        (filters(until="soon"), "'until'"),
        (filters(dangling="maybe"), "give true or false"),
        ("%7B", "invalid filter"),
    ],
)
async def test_filters_that_are_none(api: Api, asked: str, text: str) -> None:
    reply = await api.call("GET", f"/images/json?filters={asked}")
    assert reply.status == 400
    assert text in reply.json()["message"]


async def test_what_a_named_image_came_from_is_shown_on_request(api: Api) -> None:
    below = replace(IMAGE, id=f"sha256:{'9' * 64}", tags=())
    api.engine.images.images = [replace(IMAGE, parent=below.id), below]
    assert len((await api.call("GET", "/images/json")).json()) == 1
    assert len((await api.call("GET", "/images/json?all=1")).json()) == 2
    api.engine.images.images[1] = replace(below, tags=("named:1",))
    assert len((await api.call("GET", "/images/json")).json()) == 2


async def test_inspect_names_folders_and_digests(api: Api) -> None:
    digest = f"tools@sha256:{'c' * 64}"
    api.engine.images.images = [replace(IMAGE, repo_digests=(digest,))]
    image = (await api.call("GET", "/images/tools/json")).json()
    assert image["RepoDigests"] == [digest]
    assert image["GraphDriver"]["Data"] == {"LowerDir": "/layers/base", "UpperDir": "/layers/top"}


async def test_history(api: Api) -> None:
    [row] = (await api.call("GET", "/images/tools/history")).json()
    assert row == {
        "Comment": "",
        "Created": 1795231665,
        "CreatedBy": "made",
        "Id": IMAGE.id,
        "Size": IMAGE.size,
        "Tags": ["tools:latest"],
    }


async def test_tag(api: Api) -> None:
    target = "/images/tools:latest/tag?repo=127.0.0.1%3A5000%2Fmine%2Ft&tag=v1"
    reply = await api.call("POST", target)
    assert (reply.status, reply.body) == (201, b"")
    assert api.engine.images.images[0].tags == ("tools:latest", "127.0.0.1:5000/mine/t:v1")
    assert (await api.call("POST", "/images/tools/tag")).status == 400
    assert (await api.call("POST", "/images/nope/tag?repo=x")).status == 404


async def test_prune(api: Api) -> None:
    assert (await api.call("POST", "/images/prune")).json() == {
        "ImagesDeleted": None,
        "SpaceReclaimed": 0,
    }
    everything = filters(dangling="false")
    assert (await api.call("POST", f"/images/prune?filters={everything}")).json() == {
        "ImagesDeleted": [{"Deleted": IMAGE.id}],
        "SpaceReclaimed": IMAGE.size,
    }
    assert (await api.call("POST", f"/images/prune?filters={filters(before='x')}")).status == 400


async def test_commit(api: Api) -> None:
    new = await api.create("echo", name="web")
    target = (
        f"/commit?container={new}&repo=img&tag=2&comment=c&author=a&changes=CMD+a&changes=ENV+B%3D1"
    )
    reply = await api.call("POST", target)
    assert reply.status == 201
    [(how, asked)] = api.engine.image_service.made
    assert (how, asked["tag"]) == ("commit", "img:2")
    assert asked["options"] == CommitOptions(
        tag="img:2", comment="c", author="a", changes=("CMD a", "ENV B=1")
    )
    assert reply.json()["Id"] == api.engine.images.images[-1].id
    body = {"Cmd": ["x"], "Labels": {"a": "b"}}
    assert (await api.call("POST", f"/commit?container={new}&pause=0", body)).status == 201
    options = api.engine.image_service.made[-1][1]["options"]
    assert (options.pause, options.tag, options.config.cmd) == (False, None, ("x",))
    assert (await api.call("POST", "/commit?container=nope")).status == 404
    assert (await api.call("POST", f"/commit?container={new}", {"Cmd": 1})).status == 400


# --- archives -----------------------------------------------------------------------------


async def test_load_streams_and_tells(api: Api) -> None:
    client = await api.client()
    reply = await client.call("POST", "/images/load", b"x" * 700_000, TAR)
    assert reply.status == 200
    lines = [json.loads(line) for line in reply.body.split(b"\r\n") if line]
    assert [line.get("stream") or line["status"] for line in lines] == [
        "Loading layer",
        "Loaded image: loaded:1\n",
    ]
    assert api.engine.image_service.made[0][1]["size"] == 700_000
    reply = await client.call("POST", "/images/load?quiet=1", b"x", TAR)
    assert reply.body == b'{"stream":"Loaded image: loaded:1\\n"}\r\n'
    platform = quote('{"os":"linux","architecture":"arm64","variant":"v8"}')
    await client.call("POST", f"/images/load?quiet=1&platform={platform}", b"x", TAR)
    found = api.engine.image_service.made[-1][1]["platform"]
    assert found == Platform(os="linux", architecture="arm64")


async def test_load_fails_with_a_status_or_in_the_stream(api: Api) -> None:
    client = await api.client()
    reply = await client.call("POST", "/images/load", b"broken", TAR)
    assert (reply.status, reply.json()["message"]) == (400, "invalid image archive")
    reply = await client.call("POST", "/images/load?quiet=1", b"half", TAR)
    assert reply.status == 200
    last = json.loads(reply.body.strip().split(b"\r\n")[-1])
    assert last == {
        "errorDetail": {"message": "the second image is broken"},
        "error": "the second image is broken",
    }
    assert (await client.call("GET", "/_ping")).status == 200


async def test_an_upload_that_ends_early_loads_nothing(api: Api) -> None:
    client = await api.client()
    await client.send(b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf")
    await client.stream.send_eof()
    assert b"400 Bad Request" in await client.rest()
    assert api.engine.image_service.made == []


async def test_save(api: Api) -> None:
    client = await api.client()
    reply = await client.call("GET", "/images/tools:latest/get")
    assert reply.headers["content-type"] == "application/x-tar"
    assert reply.body == IMAGE.id.encode()
    reply = await client.call("GET", f"/images/get?names=tools&names={IMAGE.id}")
    assert reply.body == IMAGE.id.encode() * 2
    assert (await client.call("GET", "/images/get?names=tools&names=nope")).status == 404
    assert (await client.call("GET", "/images/get")).status == 400


async def test_import(api: Api) -> None:
    client = await api.client()
    target = "/images/create?fromSrc=-&repo=imp%3A1&message=m&changes=CMD+a&changes=USER+u"
    reply = await client.call("POST", target, b"a tar", TAR)
    assert reply.json() == {"status": api.engine.images.images[-1].id}
    [(how, asked)] = api.engine.image_service.made
    assert how == "import"
    assert asked == {
        "tag": "imp:1",
        "comment": "m",
        "changes": ["CMD a", "USER u"],
        "platform": None,
        "body": b"a tar",
    }
    await client.call("POST", "/images/create?fromSrc=-", b"a tar", TAR)
    assert api.engine.image_service.made[-1][1]["tag"] is None
    assert api.engine.image_service.made[-1][1]["comment"] == "Imported from -"
    reply = await client.call("POST", "/images/create?fromSrc=http%3A%2F%2Fx%2Fa.tar", b"", TAR)
    assert reply.status == 400


async def test_image_from_a_folder_or_a_tar(api: Api) -> None:
    client = await api.client()
    reply = await client.call("POST", "/orlop/images/from?name=a:1", {"path": "/srv/tree"})
    assert reply.status == 201
    how, asked = api.engine.image_service.made[-1]
    assert (how, asked) == ("from", {"tag": "a:1", "folder": "/srv/tree"})
    # The client's own content type is JSON's: a tar names itself.
    head = b"POST /orlop/images/from?name=b HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar"
    await client.send(head + b"\r\nContent-Length: 5\r\n\r\na tar")
    assert (await client.reply()).status == 201
    how, asked = api.engine.image_service.made[-1]
    assert (how, asked["body"]) == ("import", b"a tar")
    for target, body in (
        ("/orlop/images/from", {"path": "/a"}),
        ("/orlop/images/from?name=x", {"path": "a"}),
        ("/orlop/images/from?name=x", {}),
        ("/orlop/images/from?name=x", b"x" * 100_000),
    ):
        assert (await api.call("POST", target, body)).status == 400


async def test_disk_usage(api: Api) -> None:
    await api.create("echo")
    usage = (await api.call("GET", "/system/df")).json()
    assert usage["LayersSize"] == IMAGE.size
    assert [row["Id"] for row in usage["Images"]] == [IMAGE.id]
    [row] = usage["Containers"]
    assert (row["SizeRw"], row["SizeRootFs"], row["Image"]) == (7, 9, "tools")
    assert usage["Volumes"] == usage["BuildCache"] == []
    some = (await api.call("GET", "/system/df?type=volume&type=image")).json()
    assert some["Containers"] is None
    assert some["Volumes"] == []
    assert (await api.call("GET", "/system/df?type=nope")).status == 400
