"""The networks of the API, through docker-py, the orlop command and the stock docker command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
from docker.types import IPAMConfig, IPAMPool

from tests.api.box import IMAGE
from tests.api.network_box import NetworkBox, Service, ask, page
from tests.kernel.netplumb.rig import ANY4, Outside

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

FOREVER = ["sleep", "100000"]


@pytest.fixture
def client(net: NetworkBox) -> Iterator[docker.DockerClient]:
    with closing(docker.DockerClient(base_url=net.daemon.host, version="auto")) as it:
        yield it


def test_docker_py(net: NetworkBox, client: docker.DockerClient) -> None:
    pool = IPAMPool(subnet="10.91.0.0/24", gateway="10.91.0.1", iprange="10.91.0.128/25")
    network = client.networks.create(
        "py", ipam=IPAMConfig(pool_configs=[pool]), labels={"a": "b"}, internal=False
    )
    assert network.attrs["IPAM"]["Config"][0]["Subnet"] == "10.91.0.0/24"
    assert [one.name for one in client.networks.list(names=["py"])] == ["py"]
    assert [one.name for one in client.networks.list(filters={"label": "a=b"})] == ["py"]
    web = client.containers.run(
        IMAGE,
        FOREVER,
        detach=True,
        network="py",
        name="web",
        ports={"80/tcp": 8300, "81/udp": None},
    )
    web.reload()
    assert web.attrs["NetworkSettings"]["Networks"]["py"]["IPAddress"] == "10.91.0.128"
    assert web.ports["80/tcp"][0] == {"HostIp": ANY4, "HostPort": "8300"}
    assert web.ports["81/udp"]
    other = client.containers.run(IMAGE, FOREVER, detach=True, name="other")
    network.connect(other, aliases=["friend"], ipv4_address="10.91.0.200")
    assert b"10.91.0.200" in web.exec_run(["nslookup", "friend"]).output
    network.reload()
    assert sorted(one.name for one in network.containers) == ["other", "web"]
    with pytest.raises(docker.errors.APIError) as caught:
        network.remove()
    assert caught.value.status_code == 403
    network.disconnect(other)
    assert web.exec_run(["nslookup", "friend"]).exit_code != 0
    for one in (web, other):
        one.remove(force=True)
    network.remove()
    with pytest.raises(docker.errors.NotFound):
        client.networks.get("py")
    with pytest.raises(docker.errors.APIError) as caught:
        client.networks.create("bad", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="x")]))
    assert caught.value.status_code == 400
    client.networks.create("idle")
    assert client.networks.prune()["NetworksDeleted"] == ["idle"]


def test_orlop(net: NetworkBox) -> None:
    id = net.ok("network", "create", "--subnet", "10.92.0.0/24", "--label", "a=b", "ours")
    assert id == net.view("ours")["Id"]
    assert net.ok("network", "ls", "-q", "--no-trunc", "--filter", "label=a") == id
    rows = [line.split() for line in net.ok("network", "ls").splitlines()]
    assert [id[:12], "ours", "bridge", "local"] in rows
    (found,) = json.loads(net.ok("network", "inspect", "ours"))
    assert found["IPAM"]["Config"] == [{"Subnet": "10.92.0.0/24", "Gateway": "10.92.0.1"}]
    flags = ("--network", "name=ours,alias=db,ip=10.92.0.9", "-p", "8310:80", "-p", "53/udp")
    web = net.ok("run", "-d", "--name", "web", *flags, IMAGE, *FOREVER)
    text = net.ok("run", "--rm", "--network", "ours", IMAGE, "nslookup", "db")
    assert "10.92.0.9" in text
    with Service(net.space(web)):
        assert ask(net.outside, Outside.HOST4, 8310) == Outside.OWN4
    assert f"80/tcp -> {ANY4}:8310" in net.ok("port", "web")
    assert f"{ANY4}:8310" in net.ok("port", "web", "80")
    assert "8310->80/tcp" in net.ok("ps")
    assert net.orlop("port", "web", "99").returncode == 1
    net.ok("create", "--name", "late", IMAGE, *FOREVER)
    net.ok("network", "connect", "--alias", "al", "--ip", "10.92.0.77", "ours", "late")
    net.ok("start", "late")
    assert net.address("late", "ours") == "10.92.0.77"
    net.ok("network", "disconnect", "ours", "late")
    assert "ours" not in net.inspect("late")["NetworkSettings"]["Networks"]
    done = net.orlop("network", "rm", "ours")
    assert done.returncode == 1
    assert "has active endpoints" in done.stderr
    net.ok("rm", "-f", "web", "late")
    assert net.ok("network", "rm", "ours") == "ours"
    assert "network ours not found" in net.orlop("network", "inspect", "ours").stderr
    spare = net.network()
    assert spare in net.ok("network", "prune", "-f")


def test_the_stock_docker_command(net: NetworkBox) -> None:
    id = net.docker("network", "create", "theirs")
    assert len(id) == 64
    rows = [line.split() for line in net.docker("network", "ls").splitlines()]
    assert [id[:12], "theirs", "bridge", "local"] in rows
    it = net.up("--network", "theirs", "-p", "8320:80", "-p", "127.0.0.1:8321:81/udp")
    assert net.docker("port", it).splitlines() == [
        f"80/tcp -> {ANY4}:8320",
        "80/tcp -> [::]:8320",
        "81/udp -> 127.0.0.1:8321",
    ]
    shown = net.docker("ps", "--filter", "network=theirs", "--format", "{{.Ports}} {{.Networks}}")
    ports = f"{ANY4}:8320->80/tcp, [::]:8320->80/tcp, 127.0.0.1:8321->81/udp"
    assert shown in {f"{ports} theirs", f"{ports.replace('[::]', '::')} theirs"}
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    assert net.docker("inspect", "-f", template, it) == net.address(it, "theirs")
    assert net.docker("inspect", "-f", "{{.HostConfig.NetworkMode}}", it) == "theirs"
    assert net.docker("network", "inspect", "-f", "{{len .Containers}}", "theirs") == "1"
    assert it in net.docker("network", "inspect", "theirs")
    assert "theirs" not in net.docker("network", "prune", "-f")
    net.docker("rm", "-f", it)
    assert "theirs" in net.docker("network", "prune", "-f")


def test_the_default_network_is_shown_as_docker_does(net: NetworkBox) -> None:
    it = net.up()
    found = net.inspect(it)
    assert found["HostConfig"]["NetworkMode"] in {"default", "bridge"}
    settings = found["NetworkSettings"]
    assert list(settings["Networks"]) == ["bridge"]
    assert settings["IPAddress"] == settings["Networks"]["bridge"]["IPAddress"]
    assert settings["Gateway"] == net.subnet("bridge")["Gateway"]
    assert settings["Networks"]["bridge"]["DNSNames"] is None
    (row,) = net.daemon.request("GET", "/containers/json")[1]
    assert row["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == settings["IPAddress"]


PROJECT = """
version: "3.8"
services:
  web:
    image: box
    command: sh -c "echo hello >/index.html; exec httpd -f -h /"
    ports: ["8330:80"]
    networks: {front: {}, back: {aliases: [site]}}
  asks:
    image: box
    command: sleep 100000
    networks: [back]
networks:
  front:
    ipam: {config: [{subnet: 10.93.0.0/24}]}
  back:
    internal: true
"""


def test_docker_compose(net: NetworkBox, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(PROJECT)

    def compose(*arguments: str) -> str:
        done = subprocess.run(
            ["docker-compose", "-p", "proj", "-f", str(file), *arguments],
            env=net.daemon.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return str(done.stdout)

    compose("up", "-d")
    assert sorted(net.networks()) == ["proj_back", "proj_front"]
    for name in ("web", "site"):
        assert compose("exec", "-T", "asks", "wget", "-qO-", f"http://{name}/") == "hello\n"
    (web,) = compose("ps", "-q", "web").split()
    assert net.address(web, "proj_front").startswith("10.93.0.")
    assert page(net.outside, Outside.HOST4, 8330) == "hello\n"
    compose("restart", "-t", "0", "web")
    assert compose("exec", "-T", "asks", "wget", "-qO-", "http://site/") == "hello\n"
    assert page(net.outside, Outside.HOST4, 8330) == "hello\n"
    compose("down", "-t", "0")
    assert net.networks() == []
    assert net.ids() == []
