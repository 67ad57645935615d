"""The answer to the research question for one target: measured, interpolated, or refused with what would measure it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.costs import HEADLINE_POLICY, POLICIES
from reports.frames import Frames, load_frames
from reports.further import further_routes, interpolated_routes, policy_fields
from reports.interpolate import interpolate_answer
from reports.refusal import parent_macs, refuse_incomplete, refuse_outside
from reports.sentences import answer_sentence
from reports.verdict import compare_accuracies, compare_costs, paired_replicates

SCHEMA_VERSION = 1
Answer = dict[str, Any]
"""JSON-able; its fields are in ``answer.schema.json`` and docs/answer_schema.md."""


def answer(folder: Path, target_macs: int) -> Answer:
    """What the study in ``folder`` says about networks of at most ``target_macs`` MACs.

    Raises:
        NotAStudy: the folder is no study.
        ValueError: ``target_macs`` is not a positive whole number.

    """
    return answer_from_frames(load_frames(folder), target_macs)


def answer_from_frames(frames: Frames, target_macs: int) -> Answer:
    """:func:`answer` for a study that is already read."""
    if isinstance(target_macs, bool) or int(target_macs) != target_macs or target_macs < 1:
        raise ValueError(
            f"target {target_macs!r} is not a number of MACs; give a positive whole number, such as 600000"
        )
    target = int(target_macs)
    measured = measured_targets(frames)
    if target in measured:
        return measured_answer(frames, target)
    below = [known for known in measured if known < target]
    above = [known for known in measured if known > target]
    if below and above and target not in frames.info.targets:
        parts = measured_answer(frames, below[-1]), measured_answer(frames, above[0])
        between = {"further_routes": interpolated_routes(*parts, target)}
        return _with_sentence(_envelope(frames, target, "interpolated") | interpolate_answer(*parts, target) | between)
    refusal = refuse_incomplete if _is_inside(frames, target) else refuse_outside
    reason, change = refusal(frames, target)
    further = further_routes(frames, target)  # may be there without a search to compare with
    return _with_sentence(
        _envelope(frames, target, "refused") | {"reason": reason, "config_change": change, "further_routes": further}
    )


def measured_targets(frames: Frames) -> list[int]:
    """Targets, ascending, for which both compared routes delivered a network in at least one common replicate."""
    return [target for target in frames.info.targets if paired_replicates(frames.delivered, target)]


def all_answers(frames: Frames) -> list[Answer]:
    """One answer for each target of the study, ascending; those not measured yet are refused."""
    return [answer_from_frames(frames, target) for target in frames.info.targets]


def one_line(given: Answer) -> str:
    """The answer as one sentence with its number, interval or n, and unit."""
    return str(given["sentence"])


def measured_answer(frames: Frames, target: int) -> Answer:
    """The answer for a target of :func:`measured_targets`."""
    accuracies = compare_accuracies(frames.delivered, target)
    n = len(paired_replicates(frames.delivered, target))
    policies = {
        policy: policy_fields(compare_costs(frames.view, frames.info, frames.delivered, target, policy))
        for policy in POLICIES
    }
    values = {
        "n": n,
        "complete": n >= frames.info.replicates,
        "verdict": policies[HEADLINE_POLICY]["verdict"],
        "accuracy": {
            label: {
                "test_top1": accuracies.test_top1[label].as_dict(),
                "val_top1": accuracies.val_top1[label].as_dict(),
            }
            for label in accuracies.test_top1
        },
        "accuracy_difference": accuracies.difference.as_dict(),
        "more_accurate": accuracies.more_accurate.value,
        "policies": policies,
        "further_routes": further_routes(frames, target),
        "notes": _notes(frames, n),
    }
    return _with_sentence(_envelope(frames, target, "measured") | values)


def _envelope(frames: Frames, target: int, status: str) -> Answer:
    """The fields that every answer has."""
    return {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "study": frames.info.name,
        "dataset": frames.info.dataset,
        "target_macs": target,
        "unit": frames.unit,
        "headline_policy": HEADLINE_POLICY,
        "measured_targets": measured_targets(frames),
        "replicates_planned": frames.info.replicates,
        "n": 0,
        "complete": False,
        "verdict": None,
        "accuracy": {},
        "accuracy_difference": None,
        "more_accurate": None,
        "policies": {},
        "further_routes": {},
        "notes": [],
        "reason": None,
        "config_change": None,
    }


def _with_sentence(given: Answer) -> Answer:
    return given | {"sentence": answer_sentence(given)}


def _is_inside(frames: Frames, target: int) -> bool:
    """Whether the study's own targets reach this one, so that finishing it would answer."""
    targets = frames.info.targets
    limit = parent_macs(frames)
    return targets[0] <= target <= targets[-1] and (limit is None or target < limit)


def _notes(frames: Frames, n: int) -> list[str]:
    notes = []
    if n < frames.info.replicates:
        notes.append(f"{n} of {frames.info.replicates} replicates have both networks")
    if n < 2:
        notes.append("one replicate gives no interval, so no verdict")
    return notes
