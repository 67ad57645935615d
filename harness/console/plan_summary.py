"""What ``plan`` says about a study, as values: the estimate, what it is based on, and what may disappoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import torch

from accounting.cost.attempts import derive
from accounting.cost.equivalence import equivalence_text
from accounting.cost.prices import BadPrices, Prices, Stated, read_prices
from accounting.cost.shares import spent_s
from accounting.cost.values import Device
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from accounting.words.json_values import ChangedKey
from accounting.words.names import device_kind
from harness.config.phases import checked_shapes, warnings
from harness.config.plugin_files import use_listed
from harness.config.study import StudyConfig
from harness.cores import num_cores
from harness.data.registry import open_dataset
from harness.devices import choose_device, cpu_name
from harness.errors import InputError
from harness.latency.target import resolve_targets
from harness.plan import NOTHING_KNOWN, TIMED_FOR_S, Plan, plan_elsewhere, plan_study
from harness.planning.can_compile import check_compiles
from harness.planning.hardware import Fleet
from harness.planning.pools import amounts_of
from harness.planning.summary import PlanSummary
from harness.rehearsal import rehearsed
from harness.routes.base import View
from harness.scheduling.known import known_outcomes
from harness.stored.study_file import absolute, check_folder, stored_config
from harness.validation import check_declared, check_loggers, check_study


class DataSummary(TypedDict):
    """The data that a plan is based on; ``is_assumed`` if it was not found."""

    num_train: int
    num_val: int
    num_test: int
    num_classes: int
    image_shape: list[int]
    where: str
    is_assumed: bool
    notes: list[str]


class ParentSummary(TypedDict):
    """The parent, its MACs for one image, and its declared cost, which no job spends (null: none declared)."""

    name: str
    macs: int
    declared_cost: str | None
    source: str | None


class Money(TypedDict):
    """What the planned device-hours would cost at a stated price per device-hour."""

    amount: float
    currency: str
    price_per_hour: float
    date: str
    source: str


class StudySummary(PlanSummary, TypedDict):
    """What ``plan`` says.

    ``missing`` is what ``run`` would refuse or download first; ``warnings`` are what may disappoint; ``executes`` are
    the user's files that it executes; ``money`` is null without prices; ``rehearsal`` is what a rehearsal changes of
    the config, null for a study. ``equivalent`` says what hours on other GPU models count as, if the plan is in hours of a
    reference.
    """

    data: DataSummary
    parent: ParentSummary
    missing: str | None
    executes: list[str]
    warnings: list[str]
    money: Money | None
    equivalent: str | None
    rehearsal: list[ChangedKey] | None


def summarise(
    given: StudyConfig,
    folder: Path | None = None,
    *,
    fleets: Sequence[Fleet] = (),
    prices: Prices | None = None,
    timed_for_s: float = TIMED_FOR_S,
    compiles: bool = False,
    rehearse: bool = False,
) -> StudySummary:
    """What `plan` says about a study, as JSON-able values; ``InputError`` for what cannot work.

    If ``folder`` has a study, this is what is left of it, as ``given`` resumes or extends it. With ``rehearse`` it is
    about the study's rehearsal. Training steps are timed on this machine for ``timed_for_s``; with ``fleets`` nothing
    is timed, and the plan is for those devices. With ``compiles`` it is measured for which trainings compiling pays.
    """
    files = use_listed(given.plugins)
    known, searched, spent = NOTHING_KNOWN, {}, {}
    changes = None
    if rehearse:
        rehearsal = rehearsed(absolute(given))
        given, changes = rehearsal.config, rehearsal.changes
    if folder is None or not StudyFolder(folder).config.exists():
        study = resolve_targets(given, None)
    else:
        paths = StudyFolder(folder.resolve())
        standing = check_folder(resolve_targets(absolute(given), stored_config(paths)), paths, changes)
        study, searched, known = standing.config, standing.searched, known_outcomes(paths)
        spent = spent_s(derive(read_ledger(paths.ledger).records))
    device = "cuda" if fleets else choose_device(study.resources.device, torch.cuda.device_count())
    if fleets and study.resources.device == "cpu":
        given_fleets = ", ".join(map(str, fleets))
        raise InputError(
            f"--on: {given_fleets} given, and resources.device is cpu; leave --on out, or set the device to cuda"
        )
    check_loggers(study)
    check_declared(study, device_kind(device))
    view = replace(check_study(study, need_data=False), searched=searched)
    missing = _missing(study)
    if fleets:
        plan = plan_elsewhere(view, fleets, known, spent)
    else:
        check_compiles(study, device)
        plan = plan_study(view, device, _here(device), known, spent, timed_for_s, compiles)
    summary = plan.summary(study)
    equivalence = study.resources.equivalence
    models = [fleet.model(study.resources.gpu_models) for fleet in fleets] or list(_here(device))
    is_covered = equivalence.covers(models)
    return {
        **summary,
        "money": None if prices is None else _money(plan, device, fleets, prices),
        "equivalent": equivalence_text(equivalence) if is_covered else None,
        "data": _data(view, is_assumed=missing is not None),
        "parent": {
            "name": study.parent.timm or f"{study.parent.family} {study.parent.variant}",
            "macs": view.parent_macs,
            "declared_cost": study.parent.declared_cost,
            "source": study.parent.source,
        },
        "missing": missing,
        "executes": [file.text for file in files],
        "warnings": [
            *warnings(study, view.info.num_train),
            *(_uncovered(study, models) if not is_covered else ()),
            *_beyond(study, device, plan, fleets),
        ],
        "rehearsal": None if changes is None else list(changes),
    }


def given_prices(path: Path | None) -> Prices | None:
    """The prices in a file, if one is given; ``InputError`` if they cannot be used."""
    try:
        return None if path is None else read_prices(path)
    except BadPrices as error:
        raise InputError(str(error)) from None


def _uncovered(study: StudyConfig, models: Sequence[str]) -> list[str]:
    """A warning if the plan is for GPUs on which the study, which declares what hours count as, would not run."""
    resources = study.resources
    if not resources.equivalent:
        return []
    return [
        f"the hours are those of {' and '.join(models)}, and the study declares hours of "
        f"{' and '.join(sorted(resources.gpu_models))}: it will not run on these"
    ]


def _beyond(study: StudyConfig, device: str, plan: Plan, fleets: Sequence[Fleet]) -> list[str]:
    """A warning if a job holds more than there is, which ``run`` refuses."""
    shapes = checked_shapes(study, device)
    phase = max(shapes, key=lambda each: shapes[each].devices)
    if shapes[phase].devices <= plan.num_devices:
        return []
    kind, where = "GPUs" if device == "cuda" else "CPU cores", "planned for" if fleets else "here"
    return [
        f"resources.devices_per_job: a job of {phase} holds {shapes[phase].devices:g} {kind}, and {plan.num_devices:g} are "
        f"{where}: `run` refuses that"
    ]


def _here(device: str) -> dict[str, float]:
    """How many devices of this machine there are of each model, that of the first GPU first."""
    if device == "cpu":
        return {cpu_name(): float(num_cores())}
    return amounts_of((torch.cuda.get_device_name(place), 1.0) for place in range(torch.cuda.device_count()))


def _money(plan: Plan, device: str, fleets: Sequence[Fleet], prices: Prices) -> Money:
    """Each model's hours as they would be held, at its own price; ``price_per_hour`` is their mean."""
    names = {name: (*fleet.hardware.ledger_names, fleet.hardware.name) for fleet in fleets
             for name in fleet.hardware.ledger_names}  # fmt: skip
    held_h = plan.held_h or dict.fromkeys(_here(device), 0.0)
    stated = {model: _price([model, *names.get(model, ())], device, prices) for model in held_h}
    amount, hours = sum(hours * stated[model].value for model, hours in held_h.items()), sum(held_h.values())
    return {
        "amount": amount,
        "currency": prices.currency,
        "price_per_hour": amount / hours if hours > 0 else next(iter(stated.values())).value,
        "date": "; ".join(dict.fromkeys(one.date for one in stated.values())),
        "source": "; ".join(dict.fromkeys(one.source for one in stated.values())),
    }


def _price(names: Sequence[str], device: str, prices: Prices) -> Stated:
    known = [name for name in names if name.lower() in prices.devices]
    try:
        return prices.of(Device("", device_kind(device), 1.0, (known or [*names])[0], ""))
    except BadPrices as error:
        raise InputError(str(error)) from None


def _data(view: View, *, is_assumed: bool) -> DataSummary:
    info, dataset = view.info, view.config.dataset
    return {
        "num_train": info.num_train,
        "num_val": info.num_val,
        "num_test": info.num_test,
        "num_classes": info.num_classes,
        "image_shape": list(info.image_shape),
        "where": dataset.path or dataset.name,
        "is_assumed": is_assumed,
        "notes": list(info.notes),
    }


def _missing(study: StudyConfig) -> str | None:
    """What `run` would refuse on this machine, or download first; None if nothing."""
    if study.dataset.download:
        return f"the data set {study.dataset.timm_name} will be downloaded to {study.dataset.path}"
    try:
        open_dataset(study.dataset).check()
    except InputError as error:
        return str(error)
    return None
