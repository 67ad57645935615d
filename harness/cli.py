"""The command line. Exit codes: 0 done, 1 not finished, 2 bad input.

Nothing heavy is imported at the top, nor before a command has read its input: a refusal comes at once.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from harness.console import guard, terminal
from harness.console.terminal import say, say_json
from harness.errors import InputError

_BEGIN_T = time.time()

app = typer.Typer(
    no_args_is_help=True,
    help="Measures what it costs to reach an accurate network: prune a larger one, or search. "
    "Exit codes: 0 done, 1 not finished, 2 bad input.",
    pretty_exceptions_enable=False,
)


def _folder(path: Path | None) -> Path | None:
    """Refuse what cannot be a path before it is used."""
    if path is not None and str(path).startswith("~"):
        raise InputError(f"{path}: the shell knows no such user; write the folder's path in full")
    try:
        if path is not None:
            path.exists()
    except (OSError, ValueError) as error:
        raise guard.path_error(path, error) from None
    return path


def _folders(paths: list[Path]) -> list[Path]:
    for path in paths:
        _folder(path)
    return paths


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"prune-or-search {version('prune-or-search')}")
        raise typer.Exit


ConfigFile = Annotated[Path, typer.Argument(help="a study's YAML file")]
Folder = Annotated[Path, typer.Argument(help="a study's folder", callback=_folder)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]
Out = Annotated[
    Path | None, typer.Option("--out", help="the study's folder; runs/<name> unless given", callback=_folder)
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="a key, as if written in each study of the config, such as routes.prune.finetune.lr=0.05; repeatable",
    ),
]
Rehearse = Annotated[
    bool,
    typer.Option(
        "--rehearse",
        help="the same code paths in minutes: epochs, candidates, replicates and images cut; not a measurement",
    ),
]
Version = Annotated[bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)]


@app.callback()
def _options(version: Version = False) -> None:
    """Options of every command."""


@app.command()
def init(
    images: Annotated[str | None, typer.Option(help="a folder with train/<class>/ and val/<class>/")] = None,
    parent: Annotated[str | None, typer.Option(help="timm:NAME, or FAMILY:VARIANT as fbnetv3:g")] = None,
    macs: Annotated[
        str | None, typer.Option(help="target, as 50% of the parent's MACs or 0.5M; 50% unless given")
    ] = None,
    study: Annotated[str | None, typer.Option(help="instead: a packaged study as it is, such as quickstart")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="the file to write; study.yaml, or NAME.yaml of --study", callback=_folder),
    ] = None,
) -> None:
    """Write a commented starter study, from flags or from answers on a terminal, or a copy of a packaged one."""
    given = {"images": images, "parent": parent, "macs": macs}
    if study is not None:
        from harness.starter.copied import copy_study

        copy_study(study, out, [f"--{key}" for key, text in given.items() if text is not None])
        return
    out = out or Path("study.yaml")
    with guard.quick_interrupt():
        from harness.starter.new_file import exists, write_new
        from harness.starter.wishes import DEFAULTS, QUESTIONS, parse_wishes
        from harness.starter.write import starter_text
    if out.exists():
        raise exists(out)
    if _can_ask():
        given = {key: given[key] or typer.prompt(text, default=DEFAULTS.get(key)) for key, text in QUESTIONS.items()}
    wishes = parse_wishes(given)
    with guard.quick_interrupt():
        write_new(out, starter_text(wishes, out))
    say(f"{out} is written; `prune-or-search plan {out}` says what it would cost")


@app.command()
def plan(
    config: ConfigFile,
    out: Out = None,
    settings: Settings = None,
    on: Annotated[
        str | None,
        typer.Option(
            help="devices that are not here, as '8x A100-80GB' or '4x H200, 8x H100-80GB': what it takes there, by a model"
        ),
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="a prices.yaml: the plan in money too", callback=_folder)] = None,
    compiles: Annotated[
        bool,
        typer.Option("--compile", help="also for which trainings torch.compile pays, measured in minutes, here"),
    ] = False,
    rehearse: Rehearse = False,
    as_json: AsJson = False,
) -> None:
    """Say what a study would cost, before it costs anything; with --out, what is left of the study in that folder."""
    from harness.config.study import load_configs

    studies = load_configs(config, settings or ())
    with guard.quick_interrupt():
        from harness.console.show_plan import show_plan

        show_plan(studies, out, on=on, prices=prices, compiles=compiles, rehearse=rehearse, as_json=as_json)


@app.command()
def run(
    config: ConfigFile,
    out: Out = None,
    settings: Settings = None,
    address: Annotated[str | None, typer.Option(help="a running Ray cluster, as host:6379 or auto")] = None,
    backend: Annotated[str, typer.Option(help="tune, or inline: one job after another in this process")] = "tune",
    rehearse: Rehearse = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per event and nothing else")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="print only the answer and errors")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="also every epoch, and tracebacks")] = False,
) -> None:
    """Launch a study, or resume it: the same command."""
    from accounting.study.folder import StudyFolder, home_of
    from harness.config.caps import SUFFIX
    from harness.config.study import load_configs
    from harness.console.run_options import check_address, check_options
    from harness.stored.folder import refuse_second_driver

    check_options(backend, address, quiet=quiet, verbose=verbose)
    studies = load_configs(config, settings or ())
    if out is not None and len(studies) > 1:
        raise InputError(f"--out: {config} holds {len(studies)} studies; leave --out away, each goes to runs/<name>")
    homes = [Path("runs") / f"{study.name}{SUFFIX}" if rehearse else home_of(config, study.name) for study in studies]
    folders = [out or home for home in homes]
    for folder in folders:
        _folder(folder)
        refuse_second_driver(StudyFolder(folder.resolve()))
    _log_level(quiet, verbose)
    with guard.quick_interrupt():
        check_address(address)
        from harness.console.progress import choose_progress
        from harness.console.show_answer import show_page
        from harness.study import Launch, run_study
    begin_t = _BEGIN_T
    for study, folder in zip(studies, folders, strict=True):
        launch = Launch(backend, address, begin_t, ("prune-or-search", *sys.argv[1:]), rehearse)  # type: ignore[arg-type]
        progress = choose_progress(as_json=as_json, quiet=quiet, verbose=verbose)
        with guard.work_in(folder):
            page = run_study(study, folder, launch, progress)
            show_page(page, as_json=as_json)
        begin_t = time.time()


@app.command()
def status(
    folder: Folder,
    as_json: AsJson = False,
    as_openmetrics: Annotated[
        bool, typer.Option("--openmetrics", help="as OpenMetrics text, for Prometheus and what else scrapes it")
    ] = False,
) -> None:
    """Show jobs, spend per route against its budget, and the best so far."""
    if as_json and as_openmetrics:
        raise InputError("--json and --openmetrics are two forms of the same; give one of them")
    from reports.openmetrics import openmetrics
    from reports.status.as_json import as_json as status_json
    from reports.status.build import status as read_status
    from reports.status.text import format_status

    with guard.work_in(folder):
        facts = read_status(folder)
        if as_json:
            say_json(status_json(facts))
        else:
            say(openmetrics(facts) if as_openmetrics else format_status(facts))


@app.command()
def report(folder: Folder) -> None:
    """Build the page, figures and tables from the ledger."""
    from reports.data.study import read_study

    read_study(folder)
    with guard.quick_interrupt():
        from harness.console.show_answer import show_page
        from reports.page.build import build_report
    with guard.work_in(folder):
        show_page(build_report(folder, beside=True))


@app.command()
def answer(
    folder: Folder,
    macs: Annotated[
        str | None,
        typer.Option(help="one target, as 0.6M, or as 50% of the parent's MACs; all of the study's unless given"),
    ] = None,
    top1: Annotated[
        str | None,
        typer.Option(help="what an accuracy on validation costs, as 0.92, and by which route it costs least"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="the accuracy that this budget buys, as '10 GPU-hours', and by which route")
    ] = None,
    targets_served: Annotated[
        int | None, typer.Option(help="divide pretraining and shared work among so many targets like these")
    ] = None,
    parent_price: Annotated[
        str | None,
        typer.Option(help="charge this for the parent instead of its pretraining, as '1200 GPU-hours', or 0"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer for the whole study or one target: measured, interpolated, or refused with the change that would measure it.

    With --top1, --budget, --targets-served or --parent-price: what the same measurements say to that question. Exit code 2
    where all of it is refused.
    """
    from harness.console.show_answer import Wishes, show_answer

    show_answer(folder, Wishes(macs, top1, budget, targets_served, parent_price), as_json=as_json)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="two studies' folders or more", callback=_folders)],
    out: Annotated[Path | None, typer.Option("--out", help="also write a page to this file", callback=_folder)] = None,
    as_json: AsJson = False,
) -> None:
    """Put studies side by side: what of them can be compared, what cannot, and why."""
    from harness.console.show_compare import show_compare

    with guard.work_in(folders[0]):
        show_compare(folders, out, as_json=as_json)


@app.command()
def cost(
    folder: Folder,
    prices: Annotated[
        Path | None,
        typer.Option(help="a file with prices; prices.yaml in the study's folder unless given", callback=_folder),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            help="print only this section: total, route, phase, target, replicate, owner, labels, plan, forecast, use, "
            "networks or energy; repeatable"
        ),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="a row per attempt and device, in columns of FOCUS 1.2")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a study cost: by whom and for what, planned and actual, forecast, use, networks, energy; in money, too."""
    from harness.console.show_cost import show_cost

    with guard.work_in(folder):
        show_cost(folder, prices, show or (), json=as_json, csv=as_csv)


@app.command()
def audit(folder: Folder, as_json: AsJson = False) -> None:
    """Check that the ledger adds up; exit 1 if it does not."""
    from harness.console.show_audit import show_audit

    with guard.work_in(folder):
        adds_up = show_audit(folder, as_json=as_json)
    if not adds_up:
        raise typer.Exit(1)


@app.command(name="list")
def list_plugins(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="criteria, schedules, strategies, spaces, datasets, routes, models, figures, loggers, studies, config"
        ),
    ] = None,
    section: Annotated[str | None, typer.Argument(help="of config: one section, as routes.prune")] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="of config: as docs/config.md")] = False,
    schema: Annotated[bool, typer.Option("--json-schema", help="of config: a JSON Schema, for editors")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(help="a plug-in's file, listed with the installed ones; repeatable"),
    ] = None,
) -> None:
    """List what a config may name, or, with config, every key that it may have."""
    from harness.console.show_list import Forms, show_list

    show_list(kind, section, Forms(as_json, markdown, schema), plugin or ())


def main() -> NoReturn:
    """Entry point: a failed command prints one line on stderr, and exits with 2 for bad input and 1 otherwise."""
    terminal.prepare()
    _log_level(quiet=False, verbose=False)
    command = typer.main.get_command(app)
    code: Any = 0
    try:
        code = command.main(standalone_mode=False)
        if code == 130:  # Typer's exit code after Ctrl-C
            raise KeyboardInterrupt
        terminal.finish()
    except typer.Abort:
        _fail(guard.ending(KeyboardInterrupt()))
    except (Exception, KeyboardInterrupt) as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(2)
        _fail(guard.ending(error))
    sys.exit(code if isinstance(code, int) else 0)


def _fail(ending: guard.Ending) -> NoReturn:
    terminal.give_up()
    for line in () if ending.is_told else (ending.line, *ending.further):
        terminal.complain(f"error: {line}")
    sys.exit(ending.code)


def _log_level(quiet: bool, verbose: bool) -> None:
    """Send the logs of other parts to stderr, one line per message; tracebacks only if ``verbose``."""
    from harness.console.log_lines import OneLine

    level = logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(with_traceback=verbose))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.raiseExceptions = False  # a closed stderr must not fail the command


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


if __name__ == "__main__":
    main()
