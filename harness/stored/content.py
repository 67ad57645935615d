"""Checks that the data and the parent's weights are those that a study began with, by content rather than by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accounting.study.facts import DataFacts, KeptFacts
from accounting.words.task import CLASSIFICATION, TaskWords
from harness.config.study import StudyConfig
from harness.data.registry import open_dataset
from harness.data.unchanged import data_changes, data_facts, then_and_now
from harness.jobs.teachers import given_teachers, weights_file
from harness.models.build import checkpoint_path, checkpoint_sha256

COUNT_KEYS = ("dataset.num_train", "dataset.num_test", "dataset.num_classes")
"""Keys of a config with counts that a dataset may also find by itself."""


@dataclass(frozen=True)
class Content:
    """What ``study.yaml`` records: ``data`` (``fingerprint``, counts), SHA-256 of the parent's checkpoint and teachers.

    ``teachers_sha256`` has the teachers that are files, by path. None means not recorded (as in ``study.yaml`` of older
    versions), or that the parent has no checkpoint.
    """

    data: DataFacts | None = None
    checkpoint_sha256: str | None = None
    teachers_sha256: Mapping[str, str] = field(default_factory=dict)
    task: TaskWords = CLASSIFICATION
    """The task that the dataset states for its images."""

    @property
    def places(self) -> frozenset[str]:
        """Keys of the config that may change, since the content they lead to is compared: places and data counts."""
        data = () if self.data is None else ("dataset.path", *COUNT_KEYS)
        return frozenset((*data, *(() if self.checkpoint_sha256 is None else ("parent.checkpoint",))))

    def as_facts(self) -> KeptFacts:
        """In the form of ``study.yaml``."""
        plain: KeptFacts = {
            "data": self.data,
            "checkpoint_sha256": self.checkpoint_sha256,
            "task": self.task.as_dict(),
        }
        return {**plain, "teachers_sha256": dict(self.teachers_sha256)} if self.teachers_sha256 else plain


def content_of(config: StudyConfig) -> Content:
    """The content of the data (cached if the dataset does so), the checkpoint and the teachers, once checked."""
    dataset = open_dataset(config.dataset)
    data = data_facts(dataset)
    checkpoint = config.parent.checkpoint
    given = {distill.teacher for _, distill in given_teachers(config) if distill.is_file}
    teachers = {name: checkpoint_sha256(weights_file(name)) for name in sorted(given)}
    return Content(
        data,
        None if checkpoint is None else checkpoint_sha256(checkpoint_path(checkpoint)),
        teachers,
        dataset.info().task.words,
    )


def content_changes(then: Content, now: Content) -> list[str]:
    """One line for each of the data, the checkpoint and the teachers that differs from ``then``, with what to do."""
    lines = []
    if then.data is not None and now.data is not None and (differ := data_changes(then.data, now.data)):
        lines.append(f"dataset: its content differs from when the study began ({differ})")
    if then.checkpoint_sha256 is not None and then.checkpoint_sha256 != now.checkpoint_sha256:
        prints = then_and_now("SHA-256", then.checkpoint_sha256, now.checkpoint_sha256 or "none")
        lines.append(f"parent.checkpoint: its content differs from when the study began ({prints})")
    for name, old in then.teachers_sha256.items():
        if (new := now.teachers_sha256.get(name, old)) != old:
            prints = then_and_now("SHA-256", old, new)
            lines.append(f"the teacher {name}: its content differs from when the study began ({prints})")
    return [f"{line}; restore it, or start another study with --out" for line in lines]
