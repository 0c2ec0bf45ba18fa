"""The web-config file: what it may say, and one clear sentence for everything else."""

from __future__ import annotations

import ssl
from pathlib import Path

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.errors import ConfigError
from metrics.serve import tls
from metrics.serve.auth import BasicAuth, decode
from metrics.serve.web import Web
from metrics.serve.web_config import Tls, WebConfig, parse
from tests.unit.metrics import certificates

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
HERE = Path("/etc/orlop")

FULL = f"""
tls_server_config:
  cert_file: server.crt
  key_file: /etc/ssl/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  min_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
http_server_config:
  http2: true
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
    X-XSS-Protection:
basic_auth_users:
  alice: {HASH}
  bob: {HASH.replace("$2b$", "$2y$")}
"""


def test_everything_it_may_say() -> None:
    config = parse(FULL, HERE)
    assert config.tls == Tls(
        cert=HERE / "server.crt",
        key=Path("/etc/ssl/server.key"),
        client_ca=HERE / "ca.crt",
        client_auth="RequireAndVerifyClientCert",
        min_version="TLS13",
        ciphers=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",),
        prefer_own_order=False,
    )
    assert list(config.users) == ["alice", "bob"]
    assert config.headers == {
        "Strict-Transport-Security": "max-age=31536000",
        "X-Frame-Options": "deny",
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "basic_auth_users:\n"])
def test_nothing_at_all(text: str) -> None:
    assert parse(text, HERE) == WebConfig()


PAIR = "tls_server_config: {cert_file: a, key_file: b"
WRONG = [
    ("tls_server_config: [", "no valid YAML in line"),
    ("a: b: c", "no valid YAML in line 1: mapping values are not allowed here"),
    ("!!python/object:os.system x", "no valid YAML in line 1"),
    ("x: \x00", "no valid YAML"),
    ("- a\n- b", "the file is not a mapping"),
    ("1: 2", "the file is not a mapping"),
    ("basic_auth_user: {}", "no field 'basic_auth_user'; there are tls_server_config"),
    ("rate_limit: {interval: 1s}", "rate_limit is not supported"),
    ("tls_server_config: {cert_file: a}", "needs cert_file and key_file"),
    ("tls_server_config: {cert_file: a, key_file: b, cert: c}", "has both cert and cert_file"),
    (PAIR + ", cert_files: c}", "no field 'cert_files'"),
    (PAIR + ", client_ca_file: c}", "go together"),
    (PAIR + ", client_auth_type: RequireAndVerifyClientCert}", "go together"),
    (PAIR + ", client_auth_type: RequireAnyClientCert}", "is not one of NoClientCert"),
    (PAIR + ", client_allowed_sans: [a]}", "client_allowed_sans is not supported"),
    (PAIR + ", min_version: TLS10}", "'TLS10' is not one of TLS12, TLS13"),
    (PAIR + ", min_version: TLS13, max_version: TLS12}", "min_version is above max_version"),
    (PAIR + ", cipher_suites: x}", "cipher_suites is not a list of texts"),
    (PAIR + ", prefer_server_cipher_suites: 1}", "neither true nor false"),
    ("tls_server_config: {cert_file: 1, key_file: b}", "cert_file is not a text"),
    ("basic_auth_users: {alice: secret}", "password of user 'alice' is no bcrypt hash"),
    ("basic_auth_users: {alice: 1}", "password of user 'alice' is no bcrypt hash"),
    (f"basic_auth_users: {{alice: {HASH}x}}", "password of user 'alice' is no bcrypt hash"),
    (f"basic_auth_users: {{alice: {HASH.replace('$04$', '$31$')}}}", "bcrypt cost of user 'alice'"),
    (f"basic_auth_users: {{'a:b': {HASH}}}", "'a:b' cannot be a user's name"),
    ("basic_auth_users: [alice]", "basic_auth_users is not a mapping"),
    ("http_server_config: {headers: {Server: x}}", "headers has no field 'Server'"),
    ("http_server_config: {headers: {X-Frame-Options: no}}", "X-Frame-Options is not a text"),
    ("http_server_config: {headers: {X-Frame-Options: any}}", "must be deny or sameorigin"),
    ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}', "HTTP does not allow"),
    ("http_server_config: {http2: yes please}", "http2 is neither true nor false"),
    ("[" * 5000, "no valid YAML"),
]


@pytest.mark.parametrize("text, sentence", WRONG, ids=[sentence for _, sentence in WRONG])
def test_one_clear_error(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, HERE)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_error_tells_a_password() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("basic_auth_users: {alice: hunter2}", HERE)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    try:
        parse(text, HERE)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it need not be an error


# --- TLS ----------------------------------------------------------------------------------------


def files(folder: Path, **changes: str) -> dict[str, Path]:
    """Files with these certificates."""
    texts = {
        "server.pem": certificates.SERVER,
        "server.key": certificates.SERVER_KEY,
        "ca.pem": certificates.AUTHORITY,
        **changes,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return {name: folder / name for name in texts}


def test_a_context_from_files_or_texts(tmp_path: Path) -> None:
    found = files(tmp_path)
    from_files = Tls(
        cert=found["server.pem"],
        key=found["server.key"],
        client_ca=found["ca.pem"],
        client_auth="RequireAndVerifyClientCert",
        max_version="TLS12",
        ciphers=("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",),
    )
    context = tls.context(from_files)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert "ECDHE-ECDSA-AES256-GCM-SHA384" in names
    assert "ECDHE-RSA-AES256-GCM-SHA384" not in names
    texts = Tls(cert=certificates.SERVER, key=certificates.SERVER_KEY)
    assert tls.context(texts).verify_mode is ssl.CERT_NONE


def test_certificates_that_do_not_do(tmp_path: Path) -> None:
    found = files(tmp_path, **{"other.key": certificates.CLIENT_KEY, "no.pem": "nonsense"})
    found["locked.key"] = tmp_path / "locked.key"
    found["locked.key"].write_text(certificates.LOCKED_KEY)
    for cert, key in (
        ("server.pem", "other.key"),
        ("no.pem", "server.key"),
        ("server.pem", "locked.key"),
    ):
        with pytest.raises(ConfigError, match=r"TLS with .*server"):
            tls.context(Tls(cert=found[cert], key=found[key]))
    with pytest.raises(ConfigError, match="No such file"):
        tls.context(Tls(cert=tmp_path / "missing", key=found["server.key"]))
    bad = Tls(cert=found["server.pem"], key=found["server.key"], ciphers=("RC4",))
    with pytest.raises(ConfigError, match="cipher suite 'RC4' is not one of"):
        tls.context(bad)


# --- changes ------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def users(*names: str) -> str:
    return "basic_auth_users:\n" + "".join(f"  {name}: {HASH}\n" for name in names)


def test_a_change_is_seen_within_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "web.yml", Clock()
    path.write_text(users("alice"))
    web = Web(str(path), clock=clock)
    assert list(web.config.users) == ["alice"]
    path.write_text(users("alice", "bob"))
    web.refresh()
    assert list(web.config.users) == ["alice"]
    clock.now += 1
    web.refresh()
    assert list(web.config.users) == ["alice", "bob"]


@pytest.mark.parametrize("change", ["", "nonsense", "rate_limit: {}", None])
def test_a_wrong_change_opens_nothing(
    tmp_path: Path, change: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "web.yml", Clock()
    path.write_text(users("alice"))
    web = Web(str(path), clock=clock)
    if change is None:
        path.unlink()
    else:
        path.write_text(change)
    for _ in range(5):
        clock.now += 1
        web.refresh()
    assert list(web.config.users) == ["alice"]
    assert caplog.text.count("the old settings hold on") == 1
    path.write_text(users("carol"))
    clock.now += 1
    web.refresh()
    assert list(web.config.users) == ["carol"]


def test_a_renewed_certificate_is_taken(tmp_path: Path) -> None:
    found, clock = files(tmp_path), Clock()
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
    web = Web(str(path), clock=clock)
    before = web.context
    clock.now += 1
    web.refresh()
    assert web.context is before
    found["server.pem"].write_text(certificates.SERVER + "\n")
    clock.now += 1
    web.refresh()
    assert web.context is not before


@pytest.mark.parametrize(
    "content, sentence",
    [(None, "No such file or directory"), (b"\xff", "no UTF-8"), (b"#" * (1 << 21), "larger than")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "web.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"web config file {path}: .*{sentence}"):
        Web(str(path), clock=Clock())


def test_without_a_file_all_may_read() -> None:
    web = Web(clock=Clock())
    web.refresh()
    assert (web.config, web.context) == (WebConfig(), None)


# --- passwords ----------------------------------------------------------------------------------

USERS = {"alice": HASH, "long": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()}


@pytest.mark.parametrize(
    "header, allowed",
    [
        (b"Basic YWxpY2U6c2VjcmV0", True),  # alice:secret
        (b"basic  YWxpY2U6c2VjcmV0 ", True),
        (b"Basic YWxpY2U6U2VjcmV0", False),  # alice:Secret
        (b"Basic Ym9iOnNlY3JldA==", False),  # bob:secret
        (b"Basic YWxpY2U=", False),  # alice
        (b"Basic OnNlY3JldA==", False),  # :secret
        (b"Basic !!!!", False),
        (b"Basic /w==", False),
        (b"Bearer YWxpY2U6c2VjcmV0", False),
        (b"", False),
    ],
)
async def test_passwords(header: bytes, allowed: bool) -> None:
    auth = BasicAuth()
    for _ in range(2):
        assert await auth.allows(USERS, header) is allowed


async def test_a_long_password_is_no_error() -> None:
    import base64

    header = b"Basic " + base64.b64encode(b"long:" + b"x" * 100)
    assert await BasicAuth().allows(USERS, header)


async def test_a_right_password_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    auth, header = BasicAuth(), b"Basic YWxpY2U6c2VjcmV0"
    assert await auth.allows(USERS, header)
    checked = []
    monkeypatch.setattr(bcrypt, "checkpw", lambda *_: checked.append(1))
    assert await auth.allows(USERS, header)
    assert checked == []
    # A new password makes the old one worthless at once.
    changed = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
    assert not await auth.allows({"alice": changed}, header)
    assert checked == [1]


async def test_a_user_who_was_taken_off_the_list_is_out() -> None:
    auth, header = BasicAuth(), b"Basic YWxpY2U6c2VjcmV0"
    assert await auth.allows(USERS, header)
    assert not await auth.allows({"bob": HASH}, header)


@given(st.binary(max_size=60))
def test_any_header(header: bytes) -> None:
    found = decode(header)
    assert found is None or isinstance(found[0], str)
