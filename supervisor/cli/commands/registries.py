"""`orlop pull`, `push`, `login`, `logout`, `search`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from supervisor.cli import credentials
from supervisor.cli.client import Client, filters_json, image_path
from supervisor.cli.context import Context
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser, natural
from supervisor.cli.listing import Row, ellipsis, list_format, printable, show
from supervisor.cli.progress import follow, stdout
from supervisor.oci.docker_config import HUB_SERVER, server_key
from supervisor.oci.reference import Reference, parse

_HEADINGS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
}
_COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
_DESCRIPTION = 45


def pull(words: Sequence[str], context: Context) -> int:
    """Pull an image from its registry."""
    parser = Parser("pull", "NAME[:TAG|@DIGEST]", "Download an image from a registry", count=(1, 1))
    parser.switch("-a", "--all-tags", help="Download all tagged images in the repository")
    parser.flag("--platform", help="Choose the platform of an image of several (linux/arm64)")
    parser.switch("-q", "--quiet", help="Suppress verbose output")
    options = parser.parse(words)
    wanted = parse(options.operands[0])
    if options.all_tags and (wanted.tag or wanted.digest):
        raise Failure("tag can't be used with --all-tags/-a")
    if not options.all_tags and not (wanted.tag or wanted.digest) and not options.quiet:
        print("Using default tag: latest", flush=True)
    ref = wanted if options.all_tags else wanted.with_default_tag()
    pull_image(context.client(), ref, options.platform, quiet=options.quiet)
    print(ref)
    return 0


def pull_image(
    client: Client, ref: Reference, platform: str | None, *, quiet: bool, aside: bool = False
) -> None:
    """Have the daemon pull; with `aside` progress goes to stderr. Without tag and digest, all."""
    query = {
        "fromImage": f"{ref.domain}/{ref.path}",
        "tag": str(ref.digest or ref.tag) or None,
        "platform": platform or None,
    }
    headers = credentials.header(ref.domain)
    with client.begin("POST", "/images/create", query, headers=headers) as call:
        call.response()
        follow(call.lines(), sys.stderr if aside and not quiet else stdout(quiet=quiet))


def push(words: Sequence[str], context: Context) -> int:
    """Push an image to its registry."""
    parser = Parser("push", "NAME[:TAG]", "Upload an image to a registry", count=(1, 1))
    parser.switch("-a", "--all-tags", help="Push all tags of an image to the repository")
    parser.switch("-q", "--quiet", help="Suppress verbose output")
    options = parser.parse(words)
    wanted = parse(options.operands[0])
    if options.all_tags and wanted.tag:
        raise Failure("tag can't be used with --all-tags/-a")
    if wanted.digest is not None:
        raise Failure("cannot push a digest reference")
    if not options.all_tags and not wanted.tag and not options.quiet:
        print("Using default tag: latest", flush=True)
    ref = wanted if options.all_tags else wanted.with_default_tag()
    path = image_path(f"{ref.domain}/{ref.path}", "push")
    headers = credentials.header(ref.domain)
    with context.client().begin("POST", path, {"tag": ref.tag or None}, headers=headers) as call:
        call.response()
        follow(call.lines(), stdout(quiet=options.quiet))
    if options.quiet:
        print(ref)
    return 0


def login(words: Sequence[str], context: Context) -> int:
    """Check credentials with a registry and store them."""
    parser = Parser("login", "[SERVER]", "Authenticate to a registry", count=(0, 1))
    parser.flag("-u", "--username", help="Username")
    parser.flag("-p", "--password", help="Password; visible to others on this machine")
    parser.switch("--password-stdin", help="Take the password from stdin")
    options = parser.parse(words)
    server = server_key(options.operands[0] if options.operands else HUB_SERVER)
    config = credentials.load()
    helper = config.helper(server)
    if helper:
        raise Failure(
            f"{credentials.path()} leaves credentials to docker-credential-{helper}, which orlop "
            "does not ask: log in with docker, or take credsStore and credHelpers out of the file"
        )
    user, password = _user_and_password(options)
    body = {"username": user, "password": password, "serveraddress": server}
    answer = context.client().post("/auth", body=body)
    config.keep(
        server,
        username=user,
        password=password,
        identity_token=str(answer.get("IdentityToken") or ""),
    )
    credentials.save(config)
    print(
        f"WARNING! Your credentials are stored unencrypted in '{credentials.path()}'.",
        file=sys.stderr,
    )
    print(answer.get("Status") or "Login Succeeded")
    return 0


def _user_and_password(options: Any) -> tuple[str, str]:
    user, password = options.username or "", options.password or ""
    if options.password_stdin:
        if password:
            raise Failure("--password and --password-stdin are mutually exclusive")
        if not user:
            raise Failure("must provide --username with --password-stdin")
        password = sys.stdin.readline().rstrip("\r\n")
    elif password:
        print(
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
            file=sys.stderr,
        )
    if not (user and password):
        if not sys.stdin.isatty():
            raise Failure(
                "cannot perform an interactive login from a non TTY device:"
                " give --username and --password-stdin"
            )
        import getpass

        user = user or input("Username: ").strip()
        password = password or getpass.getpass("Password: ")
    if not user or not password:
        raise Failure("username and password must not be empty")
    return user, password


def logout(words: Sequence[str], context: Context) -> int:
    """Forget the credentials for a registry."""
    parser = Parser("logout", "[SERVER]", "Log out from a registry", count=(0, 1))
    operands = parser.parse(words).operands
    server = server_key(operands[0] if operands else HUB_SERVER)
    config = credentials.load()
    if config.drop(server):
        print(f"Removing login credentials for {server}")
        credentials.save(config)
    else:
        print(f"Not logged in to {server}")
    return 0


def search(words: Sequence[str], context: Context) -> int:
    """Search docker.io, or another registry's catalogue by HOST[:PORT]/WORD."""
    parser = Parser(
        "search",
        "TERM",
        "Search docker.io for images, or a registry's catalogue by HOST[:PORT]/WORD",
        count=(1, 1),
    )
    parser.filters(
        "-f",
        "--filter",
        help="Show only repositories with this (is-official=true, stars=3)",
    )
    list_format(parser, _HEADINGS, "{{.Name}}")
    parser.flag("--limit", kind="int", parse=natural, help="Max number of search results")
    parser.switch("--no-trunc", help="Don't truncate output")
    options = parser.parse(words)
    term = options.operands[0]
    query = {
        "term": term,
        "limit": options.limit or None,
        "filters": filters_json(options.filter),
    }
    first, slash, _ = term.partition("/")
    headers = credentials.header(first if slash and ("." in first or ":" in first) else HUB_SERVER)
    with context.client().begin("GET", "/images/search", query, headers=headers) as call:
        rows = [_row(found, whole=options.no_trunc) for found in call.result()]
    show(rows, _HEADINGS, _COLUMNS, options.format)
    return 0


def _row(found: dict[str, Any], *, whole: bool) -> Row:
    description = printable(" ".join(str(found.get("description") or "").split()))
    return {
        "Name": printable(str(found["name"])),
        "Description": description if whole else ellipsis(description, _DESCRIPTION),
        "StarCount": str(found.get("star_count", 0)),
        "IsOfficial": "[OK]" if found.get("is_official") else "",
    }
