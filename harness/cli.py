"""The command line: plan, run, status, report, answer, audit, list. Exit codes: 0 done, 1 not finished, 2 bad input."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

_BEGIN_T = time.time()

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

ConfigFile = Annotated[Path, typer.Argument(help="a study's YAML file")]
Folder = Annotated[Path, typer.Argument(help="a study's folder")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]
Out = Annotated[Path | None, typer.Option("--out", help="the study's folder; runs/<name> unless given")]


@app.command()
def plan(config: ConfigFile, as_json: AsJson = False) -> None:
    """Say what a study would cost, before it costs anything."""
    import torch

    from harness.config import load_configs
    from harness.devices import choose_device
    from harness.latency_target import resolve_targets
    from harness.plan import plan_study
    from harness.validation import check_study

    summaries = []
    for given in load_configs(config):
        study = resolve_targets(given, None)
        device = choose_device(study.resources.device, torch.cuda.device_count())
        view = check_study(study, need_data=False)
        num_devices = torch.cuda.device_count() if device == "cuda" else _num_cpus()
        summary = plan_study(view, device).summary(study, num_devices)
        summary["missing"] = _missing(study)
        summaries.append(summary)
    if as_json:
        _print_json(summaries if len(summaries) > 1 else summaries[0])
        return
    for summary in summaries:
        _show_plan(summary)


@app.command()
def run(
    config: ConfigFile,
    out: Out = None,
    address: Annotated[str | None, typer.Option(help="a running Ray cluster, as host:6379 or auto")] = None,
    backend: Annotated[str, typer.Option(help="tune, or inline: one job after another in this process")] = "tune",
) -> None:
    """Launch a study, or resume it: the same command."""
    from harness.config import load_configs
    from harness.errors import InputError
    from harness.progress import OnConsole
    from harness.study import Launch, run_study

    if backend not in ("tune", "inline"):
        raise InputError(f"--backend {backend}: allowed are tune and inline")
    if address is not None and backend == "inline":
        raise InputError(f"--address {address}: the inline backend joins no cluster; leave one of the two out")
    studies = load_configs(config)
    if out is not None and len(studies) > 1:
        raise InputError(f"--out: {config} holds {len(studies)} studies; leave --out away, each goes to runs/<name>")
    console = Console()
    begin_t = _BEGIN_T
    for study in studies:
        folder = out or Path("runs") / study.name
        launch = Launch(backend, address, begin_t, ("prune-or-search", *sys.argv[1:]))  # type: ignore[arg-type]
        page = run_study(study, folder, launch, OnConsole(console))
        _show_answers(console, folder, page)
        begin_t = time.time()


@app.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Show jobs, spend per route against its budget, and the best so far."""
    from reports.status import format_status
    from reports.status import status as read_status

    facts = read_status(folder)
    _print_json(facts) if as_json else Console().print(format_status(facts), markup=False, highlight=False)


@app.command()
def report(folder: Folder) -> None:
    """Build the page, figures and tables from the ledger."""
    from accounting.ledger import LedgerError
    from harness.errors import InputError
    from reports.errors import NotAStudy
    from reports.page import build_report

    try:
        page = build_report(folder)
    except (NotAStudy, LedgerError):
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: the report cannot be written: {error}") from None
    _show_answers(Console(), folder, page)


@app.command()
def answer(
    folder: Folder,
    macs: Annotated[str, typer.Option(help="the target, as 0.6M")],
    as_json: AsJson = False,
) -> None:
    """Answer for a target: measured, interpolated, or refused with the change that would measure it (exit 2)."""
    from harness.errors import InputError
    from harness.quantities import parse_macs
    from reports.answers.as_json import to_json
    from reports.answers.find import answer as find_answer
    from reports.answers.text import sentence
    from reports.answers.values import Refused

    try:
        target = parse_macs(macs)
    except ValueError as error:
        raise InputError(f"--macs: {error}") from None
    found = find_answer(folder, target)
    if as_json:
        _print_json(to_json(found))
    elif not isinstance(found, Refused):
        Console().print(sentence(found), markup=False, highlight=False, soft_wrap=True)
    if isinstance(found, Refused):
        if not as_json:
            _fail(sentence(found), 2)
        raise typer.Exit(2)


@app.command()
def audit(folder: Folder, as_json: AsJson = False) -> None:
    """Check that the ledger adds up; exit 1 if it does not."""
    from dataclasses import asdict

    from accounting.audit import audit as check
    from accounting.ledger import read_ledger
    from harness.paths import StudyPaths
    from harness.stored import stored_config

    paths = StudyPaths(folder)
    stored_config(paths)
    ledger = read_ledger(paths.ledger)
    found = check(ledger.records)
    if as_json:
        _print_json({**asdict(found), "ok": found.ok, "warnings": list(ledger.warnings)})
    else:
        _show_audit(found, ledger.warnings)
    if not found.ok:
        raise typer.Exit(1)


@app.command(name="list")
def list_plugins(
    kind: Annotated[
        str | None, typer.Argument(help="criteria, strategies, spaces, datasets, models or figures")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what a config may name."""
    from harness.errors import InputError
    from harness.plugins import list_all

    plugins = list_all()
    if kind is not None and kind not in plugins:
        raise InputError(f"list: {kind!r} given; allowed: {', '.join(plugins)}")
    shown = plugins if kind is None else {kind: plugins[kind]}
    if as_json:
        _print_json(shown)
        return
    console = Console()
    for name, entries in shown.items():
        console.print(f"{name}: {', '.join(entries)}", markup=False, highlight=False, soft_wrap=True)


def main() -> NoReturn:
    """Entry point: every bad input is one line on stderr and exit code 2."""
    import click

    from accounting.ledger import LedgerError
    from harness.errors import InputError, StudyFailed
    from reports.errors import NotAStudy

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    command = typer.main.get_command(app)
    try:
        code = command.main(standalone_mode=False)
    except (InputError, LedgerError, NotAStudy) as error:
        _fail(str(error), 2)
    except StudyFailed as error:
        _fail(str(error), 1)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail("interrupted; run the same command again to go on", 1)
    except Exception as error:
        if not _is_usage_error(error):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(2)
        _fail(" ".join(error.format_message().split()) + " (see --help)", 2)  # type: ignore[attr-defined]
    if code == 130:  # what Typer makes of Ctrl-C
        _fail("interrupted; run the same command again to go on", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _missing(study: Any) -> str | None:
    """What `run` would refuse on this machine, or fetch first."""
    from harness.data.registry import open_dataset
    from harness.errors import InputError

    if study.dataset.download:
        return f"the data set {study.dataset.timm_name} will be downloaded to {study.dataset.path}"
    try:
        open_dataset(study.dataset).check()
    except InputError as error:
        return str(error)
    return None


def _duration(hours: float) -> str:
    for unit, size in (("years", 8766), ("days", 24), ("h", 1)):
        if hours >= 2 * size:
            return f"{hours / size:.3g} {unit}"
    return f"{hours * 60:.3g} min"


def _is_usage_error(error: Exception) -> bool:
    """Whether it is Click's, be it the package's or the copy that Typer carries."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write("error: " + " ".join(message.split()) + "\n")
    sys.exit(code)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, default=str, allow_nan=False) + "\n")


def _num_cpus() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _show_answers(console: Console, folder: Path, page: Path) -> None:
    from reports.page import told_sentences

    for sentence in told_sentences(page):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def _show_plan(summary: dict[str, Any]) -> None:
    unit = "GPU-hours" if summary["unit"] == "gpu_hours" else "CPU core-hours"
    console = Console()
    table = Table(title=f"{summary['study']}: {summary['num_jobs']} jobs, {summary['hours']:.3g} {unit} (estimate)")
    for column, justify in (("route", "left"), ("phase", "left"), ("jobs", "right"), (unit, "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in summary["phases"]:
        table.add_row(row["route"], row["phase"], str(row["num_jobs"]), f"{row['hours']:.3g}")
    console.print(table)
    charged = Table(title=f"charged to one target and replicate, {unit}")
    for column in ("route", "target (MACs)", "policy", unit):
        charged.add_column(column, justify="left" if column in ("route", "policy") else "right")
    for row in summary["per_target"]:
        charged.add_row(row["route"], f"{row['target']:,}", row["policy"], f"{row['hours']:.3g}")
    console.print(charged)
    console.print(
        f"about {_duration(summary['wall_hours'])} on {summary['num_devices']:g} "
        f"{'GPU(s)' if summary['device'] == 'cuda' else 'CPU core(s)'}, at {summary['speed_macs_per_s'] / 1e9:.3g} GMACs/s "
        f"measured here on the parent; budgets {'cap it' if summary['budget_caps_it'] else 'do not cap it'}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    if summary["missing"]:
        console.print(f"before `run`: {summary['missing']}", markup=False, highlight=False, soft_wrap=True)


def _show_audit(found: Any, warnings: tuple[str, ...]) -> None:
    console = Console()
    for b in found.balances:
        console.print(
            f"session {b.session}, {b.device} ({b.capacity:g}), device-seconds: capacity {b.capacity_s:.1f}, allocated "
            f"{b.allocated_s:.1f} (productive {b.productive_s:.1f}, overhead {b.overhead_s:.1f}, lost {b.lost_s:.1f}), "
            f"idle {b.idle_s:.1f}; imbalance {b.imbalance:.2%}; driver work {b.driver_work_s:.1f} s beside it",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    for line in [*warnings, *(f"{f.severity}: {f.message}" for f in found.findings)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print("the ledger adds up" if found.ok else "the ledger does not add up", markup=False)


if __name__ == "__main__":
    main()
