"""`orlop apply`: make this host run what a file says."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from supervisor.cli import values
from supervisor.cli.apply import project as reading
from supervisor.cli.apply.converge import Converging
from supervisor.cli.apply.images import missing_images, pull_images
from supervisor.cli.apply.nodes import Place
from supervisor.cli.apply.observe import observe
from supervisor.cli.apply.plan import Choices, plan, plan_down
from supervisor.cli.apply.steps import DONE_WORDS, Plan
from supervisor.cli.apply.variable_files import variables_of
from supervisor.cli.apply.wanted import Project
from supervisor.cli.context import Context
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser
from supervisor.cli.listing import printable
from supervisor.spec.units import parse_duration

_SUMMARY = "Make this host run what a file of services, networks and volumes says"
_NOTES = (
    "FILE is YAML as docker compose has it, in the part that docs/apply.md lists; '-' is stdin.\n"
    "What is as the file says stays untouched; volumes are never changed or removed."
)
_CHANGES = 2
_TIMEOUT = 300.0
_STDIN = "-"
_SECOND = 1_000_000_000


def apply(words: Sequence[str], context: Context) -> int:
    """Read, plan, and do."""
    options = _parser().parse(words)
    if options.exit_code and not options.dry_run:
        raise Failure("--exit-code goes with --dry-run")
    project = _read(options.operands[0], options.project or "")
    client = context.client()
    if options.down:
        todo = plan_down(project, observe(client, project))
    else:
        if not options.dry_run:
            pull_images(client, project, options.pull or "", _say)
        choices = Choices(remove_orphans=options.remove_orphans, take_over=options.take_over)
        todo = plan(project, observe(client, project), choices)
    _tell(todo.notes, "note")
    if todo.problems:
        _tell(todo.problems, "problem")
        raise Failure(f"{project.name}: nothing was done")
    if options.dry_run or options.diff:
        _show(todo, diff=options.diff)
    if options.dry_run:
        if not options.down:
            _tell((f"image {ref} is not here" for ref in missing_images(client, project)), "note")
        changes = any(step.changes for step in todo.steps())
        return _CHANGES if options.exit_code and changes else 0
    converging = Converging(client, project, options.timeout or _TIMEOUT, _say, _warn)
    try:
        converging.run(todo)
    except Failure as failure:
        if converging.done:
            failure.message += "; what is listed as done stays"
        raise
    print(f"{project.name}: {_summary(todo)}")
    return 0


def _parser() -> Parser:
    parser = Parser("apply", "FILE|-", _SUMMARY, count=(1, 1), notes=_NOTES)
    parser.switch("--diff", help="First show the plan, with what has changed of each container")
    parser.switch("--down", help="Remove the project's containers and networks")
    parser.switch("--dry-run", help="Show what would be done and do nothing")
    parser.switch(
        "--exit-code", help="With --dry-run: exit with status 2 if something would be done"
    )
    parser.flag(
        "-p",
        "--project",
        parse=_project_name,
        help="Name of the project (default: name: of the file, or the name of its folder)",
    )
    parser.flag(
        "--pull",
        parse=values.pull_policy,
        help="Pull images first: always, missing, never (default: pull_policy of each service,"
        " or missing)",
    )
    parser.switch(
        "--remove-orphans", help="Remove containers and networks that the file has no longer"
    )
    parser.switch(
        "--take-over",
        help="Replace containers and networks of the same names that were made otherwise",
    )
    parser.flag(
        "--timeout",
        kind="duration",
        parse=_timeout,
        help="Longest time for a service to become healthy, or complete (default 5m)",
    )
    return parser


def _timeout(text: str) -> float:
    nanoseconds = parse_duration(text)
    if nanoseconds <= 0:
        raise ValueError("a time above 0 is expected, as 90s")
    return nanoseconds / _SECOND


def _project_name(text: str) -> str:
    if not reading.is_name(text):
        raise ValueError(reading.NAME_FORM)
    return text


def _read(file: str, name: str) -> Project:
    """The project; tells all that is wrong with the file and raises Failure."""
    source = _source(file, name)
    found = reading.read(source)
    shown = "stdin" if file == _STDIN else file
    _tell((_at(shown, place, said) for place, said in found.warnings), "warning")
    if found.project is None:
        for place, said in found.problems:
            print(printable(_at(shown, place, said)), file=sys.stderr)
        number = len(found.problems)
        errors = f"{number} errors" if number > 1 else "an error"
        raise Failure(f"{shown} has {errors}: nothing was done")
    return found.project


def _at(file: str, place: Place, said: str) -> str:
    return f"{file}:{place.line}:{place.column}: {said}"


def _source(file: str, name: str) -> reading.Source:
    folder = Path.cwd() if file == _STDIN else Path(file).absolute().parent
    try:
        raw = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise Failure(f"open {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: invalid UTF-8 at byte {error.start}") from None
    return reading.Source(
        text=text,
        folder=folder,
        variables=_variables(folder),
        project=name,
        fallback="" if file == _STDIN else reading.name_of_folder(folder),
    )


def _variables(folder: Path) -> dict[str, str]:
    """Those of this process, and beneath them those of `.env` beside the file."""
    path = folder / ".env"
    outside = dict(os.environ)
    try:
        return (variables_of(path, outside) if path.is_file() else {}) | outside
    except ValueError as error:
        raise Failure(str(error)) from None


def _show(todo: Plan, *, diff: bool) -> None:
    for step in todo.steps():
        _say(str(step))
        if diff:
            for difference in step.differences:
                _say(f"    {difference}")


def _summary(todo: Plan) -> str:
    done = Counter(DONE_WORDS[step.verb] for step in todo.steps() if step.changes)
    if not done:
        return "nothing to do"
    return ", ".join(f"{number} {word}" for word, number in sorted(done.items()))


def _tell(lines: Iterable[str], kind: str) -> None:
    for line in lines:
        print(printable(f"{kind}: {line}"), file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(printable(line), flush=True)


def _warn(line: str) -> None:
    _tell((line,), "warning")
