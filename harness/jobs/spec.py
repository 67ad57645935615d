"""A job as JSON, and back: the ``spec`` in a ledger's ``attempt_started``, and what a worker receives.

The fields are those of the first ledgers: new ones are added, none is renamed. Fields that do not apply to a job have their
defaults.
"""

from __future__ import annotations

from accounting.ledger.records import Phase
from accounting.ledger.specs import DeliverSpec, JobSpec, PredictionSpec, PruneSpec
from accounting.words.methods import Method, parse_method
from harness.config.recipe import Recipe
from harness.jobs.identity import JobId
from harness.jobs.job import Job, Prediction
from harness.jobs.start import Checkpoint, Fresh, InheritedFrom, Start, StateOf, StructureOf, WeightsOf
from harness.jobs.teacher import teacher_from_json, teacher_json
from harness.jobs.work import (
    Deliver,
    Export,
    Gradually,
    Prune,
    PruneRule,
    RangeTest,
    Scan,
    Score,
    Train,
    TrainSupernet,
    Work,
)

DEFAULTS: JobSpec = {
    "init_from": None, "structure_from": None, "shuffle_masks": False, "inherit": None, "checkpoint": None, "prune": None,
    "stop_epoch": None, "score": None, "predicted": None, "analysis": None, "deliver": None, "teacher": None,
}  # fmt: skip
"""Keys that say what the job does, with defaults; ``recipe`` is empty if nothing is trained."""
COST_FIELDS = ("computed_macs", "is_smaller")
"""Keys that say what the job costs rather than what it does."""


def to_json(job: Job) -> JobSpec:
    """The job as a JSON-able dict."""
    return {
        "job": job.name,
        "route": job.route,
        "phase": str(job.phase),
        "target": job.target,
        "replicate": job.replicate,
        "seed": job.seed,
        "network": job.network,
        "network_macs": job.counted_macs,
        "recipe": {},
        **DEFAULTS,
        "predicted": None if job.predicted is None else _prediction_json(job.predicted),
        "teacher": None if job.teacher is None else teacher_json(job.teacher),
        "computed_macs": job.computed_macs,
        "is_smaller": job.is_smaller,
        **_start_json(job.start),
        **_work_json(job.work),
        **({"tuned_by": list(job.tuned_by)} if job.tuned_by else {}),
        **({} if job.image_size is None else {"image_size": job.image_size}),
    }


def links(job: Job) -> JobSpec:
    """The part of its dict that says which jobs it builds on (:mod:`accounting.cost.lineage`)."""
    return {
        **_start_json(job.start),
        "teacher": None if job.teacher is None else teacher_json(job.teacher),
        "tuned_by": list(job.tuned_by),
    }


def from_json(spec: JobSpec) -> Job:
    """The job from its dict.

    Raises:
        ValueError, KeyError: the dict is not a job.

    """
    predicted, teacher = spec.get("predicted"), spec.get("teacher")
    return Job(
        id=JobId.named(spec["job"], spec["route"], spec["replicate"], spec["target"]),
        phase=Phase(spec["phase"]),
        seed=spec["seed"],
        network=spec["network"],
        work=_work(spec),
        counted_macs=spec["network_macs"],
        computed_macs=spec["computed_macs"] if "computed_macs" in spec else spec["network_macs"],
        start=_start(spec),
        is_smaller=spec.get("is_smaller", False),
        predicted=None if predicted is None else Prediction(**predicted),
        tuned_by=tuple(spec.get("tuned_by", ())),
        teacher=None if teacher is None else teacher_from_json(teacher),
        image_size=spec.get("image_size"),
    )


def _prediction_json(predicted: Prediction) -> PredictionSpec:
    return {"mean": predicted.mean, "sd": predicted.sd}


def _deliver_json(deliver: Deliver) -> DeliverSpec:
    return {
        "label": deliver.label,
        "description": deliver.description,
        "parent": deliver.parent,
        "target_latency_ms": deliver.target_latency_ms,
    }


def _start_json(start: Start) -> JobSpec:
    match start:
        case Fresh():
            return {}
        case Checkpoint(path):
            return {"checkpoint": path}
        case WeightsOf(job):
            return {"init_from": job}
        case InheritedFrom(job, supernet, arch):
            return {"init_from": job, "inherit": {"supernet": supernet, "arch": list(arch)}}
        case StructureOf(job, shuffled):
            return {"structure_from": job, "shuffle_masks": shuffled}
        case StateOf(job, epochs):
            return {"init_from": job, "epochs_before": epochs}


def _start(spec: JobSpec) -> Start:
    job, inherit = spec.get("init_from"), spec.get("inherit")
    if inherit is not None:
        return InheritedFrom(str(job), inherit["supernet"], tuple(inherit["arch"]))
    if job is not None:
        return StateOf(job, spec["epochs_before"]) if "epochs_before" in spec else WeightsOf(job)
    if (structure := spec.get("structure_from")) is not None:
        return StructureOf(structure, spec.get("shuffle_masks", False))
    return Fresh() if (path := spec.get("checkpoint")) is None else Checkpoint(path)


def _work_json(work: Work) -> JobSpec:
    match work:
        case Train(recipe, stop_epoch, gradually, leaves_state):
            prune = None if gradually is None else _gradually_json(gradually)
            left: JobSpec = {"leaves_state": True} if leaves_state else {}
            return {"recipe": recipe.as_spec(), "stop_epoch": stop_epoch, "prune": prune, **left}
        case RangeTest(recipe):
            return {"recipe": recipe.as_spec(), "range_test": True}
        case TrainSupernet(recipe):
            return {"recipe": recipe.as_spec()}
        case Prune(rule):
            return {"prune": _rule_json(rule)}
        case Score(archs, half):
            on: JobSpec = {} if half is None else {"score_half": half}
            return {"score": [list(arch) for arch in archs], **on}
        case Scan(sparsities, criteria):
            return {"analysis": {"sparsities": list(sparsities), "criteria": list(criteria)}}
        case Deliver():
            return {"deliver": _deliver_json(work)}
        case Export(kind, delivery):
            return {"deliver": {**_deliver_json(delivery), "export": kind}}


def _work(spec: JobSpec) -> Work:
    if (scan := spec.get("analysis")) is not None:
        return Scan(tuple(scan["sparsities"]), tuple(scan["criteria"]))
    if (score := spec.get("score")) is not None:
        return Score(tuple(tuple(arch) for arch in score), spec.get("score_half"))
    if (deliver := spec.get("deliver")) is not None:
        plain = Deliver(
            deliver["label"], deliver["description"], deliver.get("parent"), deliver.get("target_latency_ms")
        )
        return Export(deliver["export"], plain) if "export" in deliver else plain
    prune = spec.get("prune")
    if spec["phase"] == Phase.PRUNE:
        return Prune(_rule(prune or {}))
    recipe = Recipe.model_validate(spec["recipe"])
    if spec["phase"] == Phase.SUPERNET:
        return TrainSupernet(recipe)
    if spec.get("range_test"):
        return RangeTest(recipe)
    gradually = None if prune is None else Gradually(_rule(prune), prune["start_macs"], prune["end"])
    return Train(recipe, spec.get("stop_epoch"), gradually, spec.get("leaves_state", False))


def _rule_json(rule: PruneRule) -> PruneSpec:
    return {
        "method": str(rule.method),
        "scope": rule.method.scope,
        "criterion": rule.method.criterion,
        "target_macs": rule.target_macs,
        "floor": rule.floor,
        "channel_floor": rule.channel_floor,
        "round_to": rule.round_to,
        "keep": list(rule.keep),
    }


def _gradually_json(gradually: Gradually) -> PruneSpec:
    return {**_rule_json(gradually.rule), "start_macs": gradually.start_macs, "end": gradually.end}


def _rule(prune: PruneSpec) -> PruneRule:
    """The rule of a job that prunes. Older specs have scope and criterion instead of ``method``."""
    method = parse_method(prune["method"]) if "method" in prune else Method(prune["scope"], prune["criterion"])
    plain = PruneRule(method, prune["target_macs"])
    return PruneRule(
        plain.method,
        plain.target_macs,
        prune.get("floor", plain.floor),
        prune.get("channel_floor", plain.channel_floor),
        prune.get("round_to", plain.round_to),
        tuple(prune.get("keep") or ()),
    )
