"""What a study compared: parent, data, targets, common accuracy, methods, epochs and replicates, with one row each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

import numpy as np

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.methods import criterion_text, parse_method
from accounting.words.names import (
    PRUNE,
    SEARCH,
    Role,
    label_text,
    method_label,
    route_rank,
    routes_of,
    unit_text,
    without_method,
)
from accounting.words.quantities import macs_short, macs_text
from accounting.words.task import task
from reports.answers.refusal import parent_macs
from reports.answers.study import JudgedStudy
from reports.answers.values import Measured
from reports.data.frames import Frames
from reports.measure.methods import parent_test_top1, parent_val_top1
from reports.page.page_table import PageTable
from reports.words.wording import POLICY_TEXT, percent, percent_interval

COUNTS = {"num_train": "to train on", "num_val": "for validation", "num_test": "for the test"}


class Item(StrEnum):
    """What is said of a study's comparison; the value is its name in JSON."""

    DATA = "data"
    PARENT = "parent"
    TARGETS = "targets"
    COMPARED_AT = "compared_at"
    PRUNED_BY = "pruned_by"
    SEARCHED_BY = "searched_by"
    CONTENDERS = "contenders"
    EPOCHS = "epochs"
    REPLICATES = "replicates"
    COST = "cost"

    @property
    def heading(self) -> str:
        """Its name for people."""
        return self.value.replace("_", " ").capitalize()


def compared_table(study: JudgedStudy, measured: Sequence[Measured]) -> PageTable:
    """A table with two columns: the item, and how it was in this study."""
    rows = [[item.heading, text] for item, text in compared_items(study, measured).items()]
    return PageTable(["", ""], rows, text_columns=(0, 1))


def compared_items(study: JudgedStudy, measured: Sequence[Measured]) -> dict[Item, str]:
    """How each item was in this study, in words; items that it does not have are left out."""
    frames = study.frames
    said = {
        Item.DATA: _data(frames),
        Item.PARENT: _parent(frames),
        Item.TARGETS: _targets(frames),
        Item.COMPARED_AT: _levels(frames, measured),
        Item.PRUNED_BY: _criteria(study),
        Item.SEARCHED_BY: _search(frames),
        Item.CONTENDERS: ", ".join(dict.fromkeys(map(label_text, _contenders(study)))),
        Item.EPOCHS: "; ".join(_epochs(frames)),
        Item.REPLICATES: _replicates(frames, measured),
        Item.COST: f"allocated {unit_text(frames.unit)}, {POLICY_TEXT[HEADLINE_POLICY]}{_at_declared(frames)}",
    }
    return {item: text for item, text in said.items() if text}


def _data(frames: Frames) -> str:
    config, facts = _mapping(frames.document.config.get("dataset")), _mapping(frames.document.facts.get("data"))
    path = config.get("path")
    counts = [f"{facts[key]:,} {text}" for key, text in COUNTS.items() if _is_count(facts.get(key))]
    if not counts and _is_count(config.get("num_train")):
        counts = [f"{config['num_train']:,} asked for to train on"]
    classes = [f"{frames.num_classes} {task().outputs}"] if frames.num_classes else []
    images = [f"images: {', '.join(counts)}"] if counts else []
    notes = facts.get("notes")
    noted = [f"noted: {note}" for note in notes] if isinstance(notes, list) else []
    return "; ".join([frames.info.dataset, *([f"path {path}"] if path else []), *images, *classes, *noted])


def _parent(frames: Frames) -> str:
    accuracies = [
        f"{split} {task().metric} {percent_interval(found)}"
        for split, found in (("validation", parent_val_top1(frames)), ("test", parent_test_top1(frames)))
        if found.value is not None
    ]
    return "; ".join([parent_text(frames), *accuracies])


def parent_text(frames: Frames) -> str:
    """Which network the parent is, where its weights come from, and its MACs; accuracy, being a result, is left out."""
    parent = _mapping(frames.document.config.get("parent"))
    family = "-".join(str(parent[key]) for key in ("family", "variant") if parent.get(key))
    name = str(parent.get("timm") or family or "as configured")
    start = [str(said) for said in (_start(parent),) if said]
    macs = parent_macs(frames)
    size = [f"{macs_short(macs)} MACs"] if macs is not None else []
    return "; ".join([name, *start, *size])


def _start(parent: Mapping[str, object]) -> str:
    """Where its weights come from, and that nobody pays for them unless the study declares what they cost."""
    free = "" if parent.get("declared_cost") else ", whose own training is charged to nobody"
    if parent.get("checkpoint"):
        return f"from the checkpoint {parent['checkpoint']}{free}"
    return f"from published weights{free}" if parent.get("pretrained") else ""


def _at_declared(frames: Frames) -> str:
    """That the parent is charged at a declared cost; empty if it is not."""
    declared = frames.info.declared_parent
    return "" if declared is None else f"; the parent at its declared cost, which was not measured: {declared.text}"


def _targets(frames: Frames) -> str:
    limit = parent_macs(frames)
    each = [
        f"{macs_text(target)}{'' if limit is None else f' ({100 * target / limit:.0f} % of the parent)'}"
        for target in frames.info.targets
    ]
    latency = ", which stand in for the latencies that were asked for" if frames.info.is_by_latency else ""
    return f"at most {', '.join(each)} MACs{latency}"


def _levels(frames: Frames, measured: Sequence[Measured]) -> str:
    levels = {given.question.target: given.headline.headline.level for given in measured}
    each = [f"{percent(level)} at {macs_text(target)}" for target, level in levels.items() if level is not None]
    margin = 100 * frames.info.margin
    how = f"a*, the lower median final {task().quality} less {margin:g} point{'' if margin == 1 else 's'}"
    return f"validation {task().metric} of {', '.join(each)} ({how})" if each else ""


def _criteria(study: JudgedStudy) -> str:
    routes = [route for route in study.frames.info.routes if route == PRUNE or route in study.frames.info.challengers]
    found = {route: study.contenders.methods(route) for route in routes}
    named = dict.fromkeys(name for methods in found.values() for name in methods)
    if named:
        return "; ".join(parse_method(name).text for name in named)
    said = _mapping(_mapping(study.frames.document.config.get("routes")).get(PRUNE)).get("criterion")
    return criterion_text(str(said)) if isinstance(said, str) else ""


def _search(frames: Frames) -> str:
    """The search of the pair's challenger, or that of the search route if the challenger has none of its own."""
    routes = _mapping(frames.document.config.get("routes"))
    own = _mapping(routes.get(without_method(frames.info.pair[1])))
    section = own if "strategy" in own else _mapping(own.get("search") or routes.get(SEARCH))
    strategy = _mapping(section.get("strategy"))
    trials = f"{strategy['num_trials']} candidates" if strategy.get("num_trials") else ""
    parts = [str(strategy.get("name") or "").replace("_", " "), trials]
    space = f"in the space {section['space']}" if section.get("space") else ""
    return ", ".join(part for part in (*parts, space) if part)


def _contenders(study: JudgedStudy) -> Iterator[str]:
    for target in study.frames.info.targets:
        for one in study.contenders.at(target):
            yield one.label if one.method is None else method_label(one.route, one.method)


def _epochs(frames: Frames) -> Iterator[str]:
    """The epochs of each phase of a route, according to the ledger."""
    found = _epochs_by_phase(frames)
    outside = set(routes_of(Role.MEASURES))
    for route in sorted({str(route) for route, _ in found} - outside, key=route_rank):
        phases = [
            f"{phase} {low}" + (f" to {high}" if high != low else "")
            for (of, phase), (low, high) in found.items()
            if of == route
        ]
        yield f"{label_text(route)}: {', '.join(phases)}"


def _epochs_by_phase(frames: Frames) -> dict[tuple[str, str], tuple[float, float]]:
    """The fewest and most epochs of a training, by route and phase, in the order in which these first ended an epoch."""
    if not len(frames.view.progress):
        return {}
    started, place, columns = frames.view.progress.in_order()
    rows, first_row = np.unique(place, return_index=True)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    by_attempt = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[by_attempt], rows)
    few, most = (find.reduceat(columns["num_epochs"][by_attempt], ends) for find in (np.minimum, np.maximum))
    for row in rows[np.argsort(first_row)].tolist():
        key = started[row]["route"], started[row]["phase"]
        low, high = found.get(key, (few[row].item(), most[row].item()))
        found[key] = min(low, few[row].item()), max(high, most[row].item())
    return found


def _replicates(frames: Frames, measured: Sequence[Measured]) -> str:
    done = {given.question.target: given.headline.n for given in measured}
    planned = frames.info.replicates
    seed = frames.document.config.get("seed", 0)
    few = [f"{n} of {planned} at {macs_text(target)}" for target, n in done.items() if n < planned]
    text = f"{planned} planned, each with seeds of its own from seed {seed}"
    return f"{text}; done by both: {', '.join(few)}" if few else text


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
