"""Where the numbers come from: versions, devices, commit, config, seeds, data and rules."""

from __future__ import annotations

from collections.abc import Mapping

from accounting.audit.rules import rules_text
from accounting.ledger.records import VERDICT_RULES, Phase
from accounting.study.yaml_writer import write_yaml
from accounting.words.names import label_text
from reports.data.frames import Frames
from reports.page.page_table import PageTable
from reports.page.section import Captioned, Section

TITLE = "Provenance"


def provenance(frames: Frames) -> Section:
    """A table of facts, and the complete config."""
    rows = _facts(frames)
    config = write_yaml(frames.document.config).strip()
    return Section(
        TITLE,
        tables=[Captioned(PageTable(["", ""], rows, text_columns=(0, 1)))],
        lines=[
            *([] if frames.environment else ["The study recorded no environment."]),
            _tuning(frames),
            *_teaching(frames),
        ],
        preformatted=[("The whole config, as it was resolved", config)],
    )


def _tuning(frames: Frames) -> str:
    """Whether the recipes were tuned, how, and who paid."""
    trials = [job for job in frames.view.jobs if job.phase == Phase.TUNE]
    if not trials:
        return "Recipes were given, not tuned."
    routes = ", ".join(label_text(route) for route in dict.fromkeys(job.route for job in trials))
    jobs = f"{len(trials):,} job{'s' if len(trials) > 1 else ''}"
    return (
        f"Recipes were tuned in {jobs} of the phase “tune” ({routes}): before each training whose network may "
        "be delivered, for each network, target and replicate apart, so replicates stay independent. Each contender is "
        "charged for its own. Settings were chosen on the whole validation split, which also chooses among finalists and "
        "methods. Recipes without trials were given."
    )


def _teaching(frames: Frames) -> list[str]:
    """Who taught, and who pays for that; nothing if no job had a teacher."""
    taught: dict[str, int] = {}
    is_trained_here = {}
    for links in frames.view.links.values():
        if isinstance(teacher := links.get("teacher"), dict):
            name = str(teacher.get("name"))
            taught[name] = taught.get(name, 0) + 1
            is_trained_here[name] = teacher.get("job") is not None
    if not taught:
        return []
    told = [f"{name} (in {count:,} job{'s' if count > 1 else ''})" for name, count in sorted(taught.items())]
    pays = []
    if any(is_trained_here.values()):
        pays.append("The parent's training is charged to whatever learned from it, by the policy in force.")
    if not all(is_trained_here.values()):
        others = ", ".join(sorted(name for name, is_here in is_trained_here.items() if not is_here))
        pays.append(f"Nobody is charged for the training of {others}, which is not in this study.")
    return [" ".join([f"Teachers: {', '.join(told)}. Their passes are in the cost of the jobs that learned.", *pays])]


def _facts(frames: Frames) -> list[list[str]]:
    document = frames.document
    rows = [[key, value] for key, value in _flat("", frames.environment)]
    rows += _code(frames)
    devices = {(d.name or d.device, d.device_kind, d.node) for s in frames.view.sessions for d in s.capacity}
    rows += [["device", f"{name} ({kind}) on node {node}"] for name, kind, node in sorted(devices)]
    rows += [["sessions", f"{len(frames.view.sessions)}"]]
    if isinstance(document.config.get("seed", 0), int):
        rows += [["seed", f"{document.config.get('seed', 0)}; each replicate and job has its own, made of it"]]
    rows += [[f"data {key}", value] for key, value in _flat("", document.facts.get("data") or {})]
    if document.facts.get("checkpoint_sha256"):
        rows.append(["parent's checkpoint, SHA-256", str(document.facts["checkpoint_sha256"])])
    rows += [
        [f"plug-in {found['name']}, SHA-256", str(found["sha256"])] for found in document.facts.get("plugins") or []
    ]
    return [*rows, ["cost rules", rules_text(frames.cost_rules)], ["verdict rules", str(VERDICT_RULES)]]


def _code(frames: Frames) -> list[list[str]]:
    """The code of each session if it differed between sessions; otherwise a note if no commit is on record."""
    known = [s.environment for s in frames.view.sessions if isinstance(s.environment, Mapping)]
    found = dict.fromkeys(
        f"version {one.get('prune-or-search', 'unknown')}, commit {one.get('commit', 'not on record')}" for one in known
    )
    if len(found) > 1:
        return [["code of the sessions", "; ".join(found)]]
    is_missing = bool(frames.environment) and "commit" not in frames.environment
    return [["commit", "not on record: no checkout of its own, or an older ledger"]] if is_missing else []


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else str(key), inner)
        ]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]
