"""`orlop explain`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap
from typing import Any

from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.listing import SHORT_ID, layout, printable
from supervisor.cli.paint import Paint

_NOTES = """\
Everything that is said of a running container is read from the kernel at that moment; of one
that does not run it is told what it will be.

Examples:
  orlop explain web
  orlop explain --json web | jq .namespaces"""
_WIDTH = 98

Answer = dict[str, Any]


def explain(words: Sequence[str], context: Context) -> int:
    """Print what makes a container."""
    parser = Parser(
        "explain",
        "CONTAINER",
        "Explain what makes a container look like a machine of its own",
        count=(1, 1),
        notes=_NOTES,
    )
    parser.switch("--json", help="Print JSON")
    options = parser.parse(words)
    (ref,) = options.operands
    answer = context.client().get("/orlop/explain", {"ref": ref})
    if options.json:
        from supervisor.cli.template import readable

        print(readable(json.dumps(answer, indent=2, ensure_ascii=False)))
    else:
        print("\n".join(_tell(answer, Paint())))
    return 0


def _tell(answer: Answer, paint: Paint) -> Iterator[str]:
    name = paint(printable(answer["name"]), "bold")
    of = f", of {printable(answer['image'])}" if answer["image"] else ""
    yield f"{name} ({answer['id'][:SHORT_ID]}){of}: {answer['status']}"
    if not answer["running"]:
        yield "It does not run: this is what it will be."
    for title, section in _SECTIONS:
        lines = list(section(answer))
        if lines:
            yield ""
            yield paint(title, "bold")
            yield from (f"  {line}".rstrip() for line in lines)


def _namespaces(answer: Answer) -> Iterator[str]:
    rows = [[item["kind"], *_namespace(item), item["what"]] for item in answer["namespaces"]]
    yield from layout(rows, least=0).splitlines()


def _namespace(item: Answer) -> tuple[str, str]:
    if item["shared"]:
        return "the host's", str(item["host_inode"])
    whose = f"of {item['joins']}" if item["joins"] else "its own"
    numbers = f"{item['inode']} (host {item['host_inode']})" if item["inode"] else ""
    return whose, numbers


def _processes(answer: Answer) -> Iterator[str]:
    if not answer["processes"]:
        return
    rows = [["INSIDE", "ON THE HOST", "USER", "COMMAND"]]
    for process in answer["processes"]:
        indent = "  " * process["depth"]
        inside, outside = str(process["pid"]), str(process["host_pid"])
        rows.append([inside, outside, str(process["uid"]), indent + printable(process["command"])])
    yield from layout(rows, least=0).splitlines()


def _identity(answer: Answer) -> Iterator[str]:
    names = answer["hostname"]
    own = "the host's own" if names["inside"] == names["host"] else f"the host is {names['host']}"
    yield f"host name  {printable(names['inside'])} ({printable(own)})"
    ids = answer["ids"]
    if ids["uid"] is not None:
        groups = f", groups {' '.join(map(str, ids['groups']))}" if ids["groups"] else ""
        yield f"user       {ids['uid']}:{ids['gid']} on the host{groups}"
    elif ids["user"]:
        yield f"user       {printable(ids['user'])}"
    yield f"user ids   {ids['words']}"


def _files(answer: Answer) -> Iterator[str]:
    root = answer["root"]
    access = "read-only" if root["read_only"] else "writable"
    if root["kind"] == "folder":
        yield f"{access}: the folder {root['lowers'][0]} of the host"
        return
    yield f"{access}; its changes are in {root['writable']}"
    yield from (f"{'below it' if not n else 'below':<9} {f}" for n, f in enumerate(root["lowers"]))


def _mounts(answer: Answer) -> Iterator[str]:
    rows = [
        [printable(mount["point"]), mount["type"], "ro" if mount["read_only"] else "rw",
         printable(mount["why"])]
        for mount in answer["mounts"]
        if mount["kind"] not in ("masked", "read-only")
    ]  # fmt: skip
    yield from layout(rows, least=0).splitlines()


def _hidden(answer: Answer) -> Iterator[str]:
    for done, key in (("covered", "masked"), ("read-only", "read_only")):
        items = answer["hidden"][key]
        for title, states in (
            (done, ("done", "planned")),
            ("not on this kernel", ("absent",)),
            (f"NOT {done}, though it should be", ("open",)),
        ):
            yield from _paragraph(title, [i["path"] for i in items if i["state"] in states])


def _privileges(answer: Answer) -> Iterator[str]:
    sets = answer["capabilities"]
    yield f"capabilities: {sets['words']}"
    short = [name.removeprefix("CAP_").lower() for name in sets["bounding"]]
    yield from _paragraph("  can have", short or ["none"])
    for title, key in (("  beyond docker's", "added"), ("  without docker's", "dropped")):
        yield from _paragraph(title, [n.removeprefix("CAP_").lower() for n in sets[key]])
    new = answer["no_new_privileges"]
    yield f"no new privileges: {'on' if new['on'] else 'off'}: {new['words']}"
    yield f"system calls: {answer['seccomp']['words'] or answer['seccomp']['mode']}"
    if answer["security_opts"]:
        yield from _paragraph("asked for", answer["security_opts"])
    yield f"out of memory: adjusted by {answer['oom_score_adj']} (-1000 never killed, 1000 first)"


def _limits(answer: Answer) -> Iterator[str]:
    rows = [[item["what"], printable(item["words"])] for item in answer["limits"]]
    yield from layout(rows, least=0).splitlines()


def _cgroups(answer: Answer) -> Iterator[str]:
    paths: dict[str, list[str]] = {}
    for item in answer["cgroups"]:
        paths.setdefault(item["path"], []).append(item["controllers"])
    for path, controllers in sorted(paths.items(), key=lambda pair: -len(pair[0])):
        yield printable(path)
        yield from _paragraph("    of" if path != "/" else "    the host's, of", controllers)


def _paragraph(title: str, words: Sequence[str]) -> Iterator[str]:
    if not words:
        return
    text = f"{title}: {', '.join(map(printable, words))}"
    yield from wrap(
        text, _WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )


_SECTIONS: tuple[tuple[str, Callable[[Answer], Iterator[str]]], ...] = (
    ("What it sees as its own (namespaces)", _namespaces),
    ("Who it is", _identity),
    ("Its processes", _processes),
    ("Its root filesystem", _files),
    ("Its mounts", _mounts),
    ("What is hidden from it", _hidden),
    ("What it may do", _privileges),
    ("What it may use", _limits),
    ("Its control groups", _cgroups),
)
