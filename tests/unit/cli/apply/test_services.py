"""Keys of a service, and the request that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.apply.services import KEYS, REFUSED
from supervisor.docker.create import decode_create
from supervisor.docker.unsupported import refuse_unsupported
from tests.unit.cli.apply.files import FOLDER, config_of, service_of, wrong

VOLUMES = "volumes: {data: , other: {name: elsewhere, external: true}}\n"
NETWORKS = "networks: {front: , back: {name: deep}}\n"


@pytest.mark.parametrize(
    "keys, asked",
    [
        ("", {}),
        ("x-mine: [anything]", {}),
        ("command: sh -c 'a  b'", {"Cmd": ["sh", "-c", "a  b"]}),
        ("command: [a, 5, no]", {"Cmd": ["a", "5", "no"]}),
        ("command:", {}),
        ("entrypoint: a b", {"Entrypoint": ["a", "b"]}),
        ("entrypoint: []", {"Entrypoint": [""]}),
        ("environment: {B: 'b c', A: 1, HERE: , GONE: , E: ''}",
         {"Env": ["A=1", "B=b c", "E=", "HERE=yes"]}),
        ("environment: [A=1=2, HERE, GONE]", {"Env": ["A=1=2", "HERE=yes"]}),
        ("labels: {a: 1, b: }", {"Labels": {"a": "1", "b": ""}}),
        ("labels: [a=1, b]", {"Labels": {"a": "1", "b": ""}}),
        ("user: 5\nworking_dir: /w\nhostname: h\ndomainname: d.example",
         {"User": "5", "WorkingDir": "/w", "Hostname": "h", "Domainname": "d.example"}),
        ("tty: true\nstdin_open: yes\ninit: on\nprivileged: false\nread_only: True",
         {"Tty": True, "OpenStdin": True, "Init": True, "Privileged": False,
          "ReadonlyRootfs": True}),
        ("stop_signal: SIGINT\nstop_grace_period: 1m1500ms",
         {"StopSignal": "SIGINT", "StopTimeout": 62}),
        ("restart: no", {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}),
        ("restart: on-failure:3",
         {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
        ("cap_add: [NET_ADMIN]\ncap_drop: [ALL]\ngroup_add: [audio, 5]",
         {"CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"], "GroupAdd": ["audio", "5"]}),
        ("sysctls: {net.core.somaxconn: 5}", {"Sysctls": {"net.core.somaxconn": "5"}}),
        ("sysctls: [a.b=5]", {"Sysctls": {"a.b": "5"}}),
        ("ulimits: {nofile: {soft: 1, hard: 2}, core: -1}",
         {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2},
                      {"Name": "core", "Soft": -1, "Hard": -1}]}),
        ("devices: [/dev/fuse, '/dev/a:/dev/b:r']",
         {"Devices": [
             {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse",
              "CgroupPermissions": "rwm"},
             {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]}),
        ("security_opt: [no-new-privileges, 'seccomp=unconfined', systempaths=unconfined]",
         {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined"], "MaskedPaths": [],
          "ReadonlyPaths": []}),
        ("userns_mode: host\nshm_size: 64m\ncgroup: private\nuts: host",
         {"UsernsMode": "host", "ShmSize": 64 << 20, "CgroupnsMode": "private",
          "UTSMode": "host"}),
        ("logging: {driver: json-file, options: {max-size: 1m, max-file: 3}}",
         {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}}}),
        ("mem_limit: 50m\ncpus: 0.5\npids_limit: 9\nmem_reservation: 1m\nmemswap_limit: -1",
         {"Memory": 50 << 20, "NanoCpus": 500_000_000, "PidsLimit": 9,
          "MemoryReservation": 1 << 20, "MemorySwap": -1}),
        (("deploy: {resources: {limits: {cpus: '0.5', memory: 50M, pids: 9},"
         " reservations: {memory: 1m}}, mode: replicated}\nmem_limit: 50m"),
         {"Memory": 50 << 20, "NanoCpus": 500_000_000, "PidsLimit": 9,
          "MemoryReservation": 1 << 20}),
        ("cpu_shares: 5\ncpu_quota: 1000\ncpu_period: 2000\ncpuset: 0-1\noom_score_adj: -5",
         {"CpuShares": 5, "CpuQuota": 1000, "CpuPeriod": 2000, "CpusetCpus": "0-1",
          "OomScoreAdj": -5}),
        (("healthcheck: {test: true, interval: 1s, timeout: 2s, retries: 3, start_period: 4s,"
         " start_interval: 500ms}"),
         {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 10**9, "Timeout": 2 * 10**9,
                          "Retries": 3, "StartPeriod": 4 * 10**9, "StartInterval": 5 * 10**8}}),
        ("healthcheck: {test: [CMD, a, b]}", {"Healthcheck": {"Test": ["CMD", "a", "b"]}}),
        ("healthcheck: {disable: true}", {"Healthcheck": {"Test": ["NONE"]}}),
        (("volumes: ['data:/d', 'data:/e:ro', ./x:/x, ../y:/y:ro, ~/z:/z, /a:/a, /anon,"
         " 'other:/o']"),
         {"Binds": ["shop_data:/d", "shop_data:/e:ro", f"{FOLDER}/x:/x", "/srv/y:/y:ro",
                    f"{Path.home()}/z:/z", "/a:/a", "elsewhere:/o"], "Volumes": {"/anon": {}}}),
        (("volumes:\n- {type: bind, source: x, target: /x, read_only: true,"
         " bind: {propagation: rslave, create_host_path: false}}\n"
         "- {type: bind, source: /y, target: /y}\n"
         "- {type: volume, source: data, target: /d, volume: {nocopy: true, subpath: s}}\n"
         "- {type: volume, target: /anon}\n"
         "- {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}"),
         {"Mounts": [
             {"Type": "bind", "Source": f"{FOLDER}/x", "Target": "/x", "ReadOnly": True,
              "BindOptions": {"CreateMountpoint": False, "Propagation": "rslave"}},
             {"Type": "bind", "Source": "/y", "Target": "/y",
              "BindOptions": {"CreateMountpoint": True}},
             {"Type": "volume", "Source": "shop_data", "Target": "/d",
              "VolumeOptions": {"NoCopy": True, "Subpath": "s"}},
             {"Type": "volume", "Target": "/anon"},
             {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 448}},
         ]}),
        ("tmpfs: /t", {"Tmpfs": {"/t": ""}}),
        ("tmpfs: ['/t:size=1m,noexec', /u]", {"Tmpfs": {"/t": "size=1m,noexec", "/u": ""}}),
        ("ports: ['8080:80', 22:22, 53/udp, '127.0.0.1:1-2:3-4']",
         {"ExposedPorts": {"80/tcp": {}, "22/tcp": {}, "53/udp": {}, "3/tcp": {}, "4/tcp": {}},
          "PortBindings": {
              "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
              "22/tcp": [{"HostIp": "", "HostPort": "22"}],
              "53/udp": [{"HostIp": "", "HostPort": ""}],
              "3/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}],
              "4/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2"}]}}),
        (("ports: [{target: 80, published: '8080', host_ip: '::1', protocol: udp, mode: host},"
         " {target: 81}]\nexpose: [82, 83-84/udp]"),
         {"ExposedPorts": {"80/udp": {}, "81/tcp": {}, "82/tcp": {}, "83/udp": {}, "84/udp": {}},
          "PortBindings": {"80/udp": [{"HostIp": "::1", "HostPort": "8080"}],
                           "81/tcp": [{"HostIp": "", "HostPort": "0"}]}}),
        ("network_mode: none", {"NetworkMode": "none"}),
        ("network_mode: host\npid: host\nipc: host",
         {"NetworkMode": "host", "PidMode": "host", "IpcMode": "host"}),
        ("network_mode: service:db\npid: service:db\nipc: container:x",
         {"NetworkMode": "container:shop-db-1", "PidMode": "container:shop-db-1",
          "IpcMode": "container:x"}),
        ("networks: [back, front]",
         {"NetworkMode": "deep", "NetworkingConfig": {"EndpointsConfig": {
             "deep": {"Aliases": ["web"]}, "shop_front": {"Aliases": ["web"]}}}}),
        (("networks: {front: {aliases: [a, web], ipv4_address: 10.0.0.9, ipv6_address: 'fd00::9',"
         " driver_opts: {k: v}, gw_priority: 5}, back: }\nmac_address: 02:42:0a:05:00:09"),
         {"NetworkMode": "shop_front", "NetworkingConfig": {"EndpointsConfig": {
             "shop_front": {
                 "Aliases": ["web", "a"], "MacAddress": "02:42:0a:05:00:09", "GwPriority": 5,
                 "DriverOpts": {"k": "v"},
                 "IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9"}},
             "deep": {"Aliases": ["web"]}}}}),
        ("dns: 10.0.0.1\ndns_search: [a, b]\ndns_opt: [ndots:1]",
         {"Dns": ["10.0.0.1"], "DnsSearch": ["a", "b"], "DnsOptions": ["ndots:1"]}),
        ("extra_hosts: [a=1.2.3.4, 'b:host-gateway']",
         {"ExtraHosts": ["a:1.2.3.4", "b:host-gateway"]}),
        ("extra_hosts: {a: 1.2.3.4, b: [1.2.3.5, '::1']}",
         {"ExtraHosts": ["a:1.2.3.4", "b:1.2.3.5", "b:::1"]}),
    ],
)  # fmt: skip
def test_keys(keys: str, asked: dict[str, Any]) -> None:
    assert config_of(keys, VOLUMES + NETWORKS, variables={"HERE": "yes"}) == asked


@pytest.mark.parametrize(
    "keys, said",
    [
        ("imagee: x", "5:5: unknown key 'imagee' in services.web: did you mean 'image'?"),
        ("build: .", ("5:5: build is not supported: build the image with buildah, give it to"
         " this host by orlop load, and name it by image")),
        ("links: [db]", ("5:5: links is not supported: services in one network find each other"
         " by name; use aliases of networks")),
        ("command: []", "5:14: no word is given"),
        ("command: \"a 'b\"", "5:14: 'a 'b': No closing quotation"),
        ("command: {a: b}", "5:14: a list is expected"),
        ("environment: [=x]", "5:19: NAME=value is expected"),
        ("environment: {A: [b]}", "5:22: a list is given where one value is expected"),
        ("environment: text", "5:18: a map, or a list of NAME=value, is expected"),
        ("labels: {orlop.apply.project: x}", "5:35: labels that begin with orlop.apply."),
        ("user:", "5:10: a value is expected"),
        ("privileged: maybe", "5:17: 'maybe': true or false is expected"),
        ("mem_limit: 5x", "5:16: invalid size: '5x'"),
        ("cpus: many", "5:11: invalid number of CPUs"),
        ("mem_limit: 5m\ndeploy: {resources: {limits: {memory: 6m}}}",
         "6:43: deploy.resources.limits.memory differs from mem_limit"),
        ("deploy: {resources: {reservations: {cpus: 1}}}", "5:41: cpus is not supported"),
        ("deploy: {mode: global}", "5:20: 'global': replicated is expected"),
        ("deploy: {restart_policy: {}}", "5:14: restart_policy is not supported: give restart"),
        ("scale: -1", "5:12: -1: 0 is the least"),
        ("scale: 2\ndeploy: {replicas: 3}", "6:24: deploy.replicas differs from scale"),
        ("scale: 10001", "5:12: scale is at most 10,000: 10001 is too much"),
        ("scale: 2\ncontainer_name: x", "6:5: container_name is for one replica only"),
        ("container_name: -x", "5:21: '-x' is no name of a container"),
        ("restart: sometimes", "5:14: 'sometimes': no, always, unless-stopped"),
        ("stop_grace_period: soon", "5:24: invalid duration: 'soon'"),
        ("stop_grace_period: -5s", "5:24: '-5s': a time cannot be negative"),
        ("healthcheck: {test: [a, b]}", "5:25: a list begins with CMD, CMD-SHELL or NONE"),
        ("healthcheck: {test: [CMD]}", "5:25: CMD without a command"),
        ("healthcheck: {test: a, disable: true}", "5:18: disable: true goes with no other key"),
        ("healthcheck: {intervall: 1s}", ("5:19: unknown key 'intervall' in healthcheck:"
         " did you mean 'interval'?")),
        ("healthcheck: {interval: -1s}", "5:29: '-1s': a time cannot be negative"),
        ("healthcheck: {retries: 0}", "5:28: 0: 1 is the least"),
        ("ulimits: {nofile: {soft: 5}}", "5:23: soft and hard are expected"),
        ("ulimits: {nofiles: 5}", "5:24: NAME=SOFT[:HARD] is expected"),
        ("volumes: ['data:/d']", "5:15: there is no volume 'data' in volumes: of the file"),
        ("volumes: ['a:b:c:d']", "5:15: 'a:b:c:d': [SOURCE:]TARGET[:ro] is expected"),
        ("volumes: [{type: bind, target: /x}]", "5:15: source is missing"),
        ("volumes: [{target: /x}]", "5:15: type is missing"),
        ("volumes: [{type: tmpfs, target: /x, bind: {}}]", "5:41: bind goes with type: bind"),
        ("volumes: [{type: tmpfs, source: a, target: /x}]", "5:37: type: tmpfs takes no source"),
        ("volumes: [{type: nfs, target: /x}]", "5:22: 'nfs': bind, volume, tmpfs is expected"),
        ("volumes: [~nobody-here/x:/x]", "5:15: '~nobody-here/x': this host has no such user"),
        ("ports: ['99999:80']", "5:13: '99999:80': invalid host port"),
        ("ports: [{published: 80}]", "5:13: target is missing"),
        ("ports: ['80:80']\nnetwork_mode: none",
         "5:5: ports cannot be published with network_mode: none"),
        ("network_mode: none\nnetworks: []", "5:5: network_mode and networks exclude each other"),
        ("network_mode: nonesuch", "5:19: 'nonesuch': none, host, bridge, service:NAME"),
        ("network_mode: service:x", "5:19: there is no service 'x': there is db"),
        ("network_mode: service:web", "5:19: the service web cannot wait for itself"),
        ("networks: [nope]", "5:16: there is no network 'nope' in networks: of the file"),
        ("networks: {nope: }", "5:16: there is no network 'nope' in networks: of the file"),
        ("networks: [default, default]", "5:25: network 'default' is given twice"),
        ("networks: {default: {ipv4_address: 10.0.0}}", "5:40: '10.0.0' is no such"),
        ("networks: {default: {priority: 5}}", "5:26: priority is not supported"),
        ("extra_hosts: [a]", "5:19: 'a': NAME:IP is expected"),
        ("extra_hosts: {a: b}", "5:22: 'b' is no such address"),
        ("dns: here", "5:10: 'here' is no such address"),
        ("depends_on: [nope]", "5:18: there is no service 'nope': there is db"),
        ("depends_on: {db: {condition: fine}}",
         "5:34: 'fine': service_started, service_healthy, service_completed_successfully"),
        ("depends_on: {db: {restart: true}}", "5:23: restart is not supported"),
        ("env_file: none", "5:15: open /srv/shop/none: No such file or directory"),
        ("logging: {driver: syslog}", "5:23: 'syslog': json-file, local is expected"),
        ("sysctls: [a]", "5:15: a has no value"),
        ("devices: ['']", "5:15: '': HOST[:CONTAINER][:PERMISSIONS] is expected"),
        ("security_opt: [x]", "5:20: 'x': NAME=VALUE or no-new-privileges is expected"),
        ("pull_policy: often", "5:18: 'often': always, missing, if_not_present, never"),
        ("working_dir: ${DIR:?where}", "5:18: variable DIR is not set: where"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_key(keys: str, said: str) -> None:
    assert wrong(keys).startswith(said)


def test_the_daemon_takes_what_is_made() -> None:
    import json

    config = service_of(
        "command: [a]\nenvironment: {A: b}\nports: ['80:80']\nvolumes: ['data:/d']\n"
        "healthcheck: {test: a}\nulimits: {core: 0}\nmem_limit: 9m\ninit: true\n"
        "networks: {front: {aliases: [x]}}\ndevices: [/dev/fuse]\ntmpfs: /t\nipc: private\n"
        "logging: {options: {max-size: 1m}}\nrestart: always\nstop_grace_period: 3s",
        VOLUMES + NETWORKS,
    ).config
    body = decode_create(json.dumps(config).encode())
    refuse_unsupported(body)
    assert body.host_config.memory == 9 << 20


def test_files_of_variables_stand_behind_the_environment(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=a\nB=a\nC=a\n")
    (tmp_path / "b.env").write_text("B=b\nC=b\n")
    keys = "env_file: [a.env, {path: b.env}, {path: none, required: false}]\nenvironment: {C: here}"
    assert config_of(keys, folder=tmp_path) == {"Env": ["A=a", "B=b", "C=here"]}
    assert config_of("env_file: b.env", folder=tmp_path) == {"Env": ["B=b", "C=b"]}


def test_a_seccomp_profile_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a": 1}')
    found = config_of("security_opt: ['seccomp=p.json']", folder=tmp_path)
    assert found == {"SecurityOpt": ['seccomp={"a":1}']}


def test_replicas_have_numbers() -> None:
    assert service_of("scale: 3").containers == ("shop-web-1", "shop-web-2", "shop-web-3")
    assert service_of("deploy: {replicas: 0}").containers == ()
    assert service_of("container_name: it").containers == ("it",)


def test_a_namespace_of_a_service_waits_for_it() -> None:
    service = service_of("pid: service:db")
    assert [one.service for one in service.depends] == ["db"]
    assert service.shares == ("db",)


def test_the_documentation_has_every_key() -> None:
    text = (Path(__file__).parents[4] / "docs" / "apply.md").read_text()
    supported, refused = text.split("### Services")[1].split("Refused by name:")
    assert {name for name in KEYS if f"`{name}`" not in supported} == set()
    assert {name for name in REFUSED if f"`{name}`" not in refused} == set()
    assert KEYS.keys() & REFUSED.keys() == set()
