"""The command ``plan``: first what the estimate is based on, then jobs and hours by route, phase and target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accounting.ledger.records import Phase
from accounting.study.facts import REHEARSAL
from accounting.words.json_values import changed_text
from accounting.words.names import unit_text
from accounting.words.quantities import duration_text, macs_text
from accounting.words.task import task
from harness.config.study import StudyConfig
from harness.console.plan_summary import StudySummary, given_prices, summarise
from harness.console.terminal import aligned, say, say_json
from harness.errors import InputError
from harness.planning.hardware import parse_fleets
from harness.planning.summary import PlannedCompile, PlannedTeacher

PHASE_TEXT = {str(Phase.EXPORT): "exports (charged to no route)"}


def show_plan(
    studies: Sequence[StudyConfig], folder: Path | None, *, on: str | None, prices: Path | None, compiles: bool,
    rehearse: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print what each study would cost: here or, with ``on``, on those devices; ``InputError`` for what cannot work."""
    fleets, stated = (() if on is None else parse_fleets(on)), given_prices(prices)
    if rehearse and fleets:
        raise InputError("--rehearse is planned for this machine; leave --on out")
    if compiles and fleets:
        raise InputError("--compile measures on this machine; leave --on out")
    summaries, texts = [], []
    for study in studies:
        summaries.append(summarise(study, folder, fleets=fleets, prices=stated, compiles=compiles, rehearse=rehearse))
        texts.append(format_plan(summaries[-1]))  # now, while the words of the study's task are in use
    if as_json:
        say_json(summaries if len(summaries) > 1 else summaries[0])
    else:
        say("\n\n".join(texts))


def format_plan(summary: StudySummary) -> str:
    """The summary as text for a terminal."""
    unit = unit_text(summary["unit"])
    phases = [
        [row["route"], PHASE_TEXT.get(row["phase"], row["phase"]), str(row["num_jobs"]), f"{row['hours']:.3g}"]
        for row in sorted(summary["phases"], key=lambda row: bool(row["phase"] == Phase.EXPORT))
    ]
    charged = [
        [row["route"], row["policy"], macs_text(row["target"]), f"{row['hours']:.3g}"] for row in summary["per_target"]
    ]
    lines = [
        *_head(summary),
        "",
        *_done(summary),
        f"{summary['num_jobs']} jobs, {summary['hours']:.3g} {unit} (estimate)",
        aligned(["route", "phase", "jobs", unit], phases, num_text_columns=2),
        *(_teacher(teacher, summary["hours"], unit) for teacher in summary["teachers"]),
        *_compiled(summary),
        "",
        f"charged to one target and replicate, {unit}",
        aligned(["route", "policy", "target (MACs)", unit], charged, num_text_columns=2),
        "",
        _where(summary),
        *_rates(summary),
    ]
    if (money := summary["money"]) is not None:
        lines.append(
            f"about {money['amount']:,.2f} {money['currency']} at {money['price_per_hour']:g} {money['currency']} "
            f"a device and hour ({money['date']}, {money['source']})"
        )
    if summary["missing"]:
        lines.append(f"before `run`: {summary['missing']}")
    return "\n".join(lines)


def _where(summary: StudySummary) -> str:
    """How long the study takes, on how many devices, and where their speed comes from."""
    duration = duration_text(summary["wall_hours"])
    speed = f"{summary['speed_macs_per_s'] / 1e9:.3g} GMACs/s"
    capped = f"budgets {'cap it' if summary['budget_caps_it'] else 'do not cap it'}"
    if (times := summary["range"]) is None:
        kind = "GPU(s)" if summary["device"] == "cuda" else "CPU core(s)"
        return (
            f"about {duration} on {summary['num_devices']:g} {kind}, at {speed} measured here on the parent; {capped}"
        )
    low, high = (duration_text(summary["wall_hours"] * factor) for factor in times)
    return (
        f"about {duration} on {summary['on']} ({low} to {high}), at {speed} on the parent by a model of the device "
        f"(docs/planning.md), not measured; reading and decoding images is not in it; {capped}"
    )


def _rates(summary: StudySummary) -> list[str]:
    """What hours on other GPU models count as, and how far the ends of the declared ranges move the plan."""
    said = [] if summary["equivalent"] is None else [summary["equivalent"]]
    if len(summary["held"]) > 1:
        held = ", ".join(f"{one['hours']:.3g} on {one['model']}" for one in summary["held"])
        said.append(f"hours as they would be held: {held}")
    if (ends := summary["at_rate_ends"]) is not None:
        low, high = ends["hours"]
        shortest, longest = map(duration_text, ends["wall_hours"])
        hours = f"{low:.3g} to {high:.3g} {unit_text(summary['unit'])}"
        said.append(f"at the ends of the declared rates {hours}, in {shortest} to {longest}")
    return said


def _head(summary: StudySummary) -> list[str]:
    """What the estimate is based on; data that was not found is said to be assumed."""
    data, parent = summary["data"], summary["parent"]
    parts = ((data["num_train"], "training"), (data["num_val"], "validation"), (data["num_test"], "test"))
    counts = ", ".join(f"{count:,} {name}" for count, name in parts if count)
    found = (
        f"{counts} images of {data['num_classes']:,} {task().outputs}, {'x'.join(str(n) for n in data['image_shape'])}"
    )
    first = f"{summary['study']}: {found}, from {data['where']}"
    if data["is_assumed"]:
        first = f"{summary['study']}: data not found, so assumed: {found} (looked for in {data['where']})"
    shape = f"parent {parent['name']}: {macs_text(parent['macs'])} MACs per image"
    declared = (
        []
        if parent["declared_cost"] is None
        else [f"parent: declared, not planned here: {parent['declared_cost']} ({parent['source']}); in no figure below"]
    )
    executes = (f"executes {file}" for file in summary["executes"])
    changes = summary["rehearsal"] or ()
    rehearsal = (
        [] if summary["rehearsal"] is None else [f"{REHEARSAL}; changed:", *(f"  {changed_text(c)}" for c in changes)]
    )
    return [
        *rehearsal,
        first,
        *(f"data: {note}" for note in data["notes"]),
        shape,
        *declared,
        *executes,
        *(f"warning: {line}" for line in summary["warnings"]),
    ]


def _teacher(teacher: PlannedTeacher, whole_h: float, unit: str) -> str:
    share = f" ({teacher['hours'] / whole_h:.0%} of the whole)" if whole_h > 0 else ""
    return (
        f"of that, {teacher['hours']:.3g} {unit}{share} are forward passes of the teacher {teacher['teacher']}, "
        f"{macs_text(teacher['macs'])} MACs per image, in {teacher['num_jobs']} jobs"
    )


def _compiled(summary: StudySummary) -> list[str]:
    """For which trainings compiling pays, if it was measured."""
    if summary["on"] is not None and summary["compiled"]:
        names = ", ".join(summary["compiled"])
        return [
            f"compile: on for {names}; what it takes and gains on {summary['on']} is not known, and not in this plan"
        ]
    return [_compile_line(found) for found in summary["compile"]]


def _compile_line(found: PlannedCompile) -> str:
    masked = ", masked" if found["is_masked"] else ""
    head = f"compile: {found['route']} {found['phase']}{masked} (now {'on' if found['is_on'] else 'off'}):"
    if found["problem"] is not None:
        return f"{head} it cannot be compiled: {found['problem']}"
    speeds = f"{found['images_per_s']:.3g} images/s without, {found['compiled_images_per_s']:.3g} with"
    said = f"{head} {speeds}, {found['compile_s']:.0f} s to compile;"
    if (pays_from := found["pays_from_epochs"]) is None:
        return f"{said} it is not faster, and does not pay"
    least, most = found["epochs"]
    epochs = f"{least}" if least == most else f"{least} to {most}"
    verdict = "it pays" if found["pays"] else "it does not pay"
    return f"{said} pays from {pays_from:,} epochs on, it trains {epochs}: {verdict}"


def _done(summary: StudySummary) -> list[str]:
    done = summary["num_done"]
    return [f"{done} of {done + summary['num_jobs']} jobs are done already; what follows is left"] if done else []
