"""Whether the data and the parent's weights are those that a study began with: by content, wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.study.facts import DataFacts, KeptFacts
from harness.config.study import StudyConfig
from harness.data.registry import open_dataset
from harness.data.unchanged import data_changes, data_facts, then_and_now
from harness.models.build import checkpoint_path, checkpoint_sha256

COUNT_KEYS = ("dataset.num_train", "dataset.num_test", "dataset.num_classes")
"""Keys of a config that say what a dataset may also count itself."""


@dataclass(frozen=True)
class Content:
    """What ``study.yaml`` keeps: ``data`` (``fingerprint`` and counts) and the SHA-256 of the parent's checkpoint.

    None: not on record (as in ``study.yaml`` of older versions), or the parent has no checkpoint.
    """

    data: DataFacts | None = None
    checkpoint_sha256: str | None = None

    @property
    def places(self) -> frozenset[str]:
        """Keys of the config that may change, since what they lead to is compared: places, and counts of the data."""
        data = () if self.data is None else ("dataset.path", *COUNT_KEYS)
        return frozenset((*data, *(() if self.checkpoint_sha256 is None else ("parent.checkpoint",))))

    def as_facts(self) -> KeptFacts:
        """As ``study.yaml`` holds it."""
        return {"data": self.data, "checkpoint_sha256": self.checkpoint_sha256}


def content_of(config: StudyConfig) -> Content:
    """Read the data (cached where the dataset does so) and the checkpoint; both have been checked."""
    data = data_facts(open_dataset(config.dataset))
    checkpoint = config.parent.checkpoint
    return Content(data, None if checkpoint is None else checkpoint_sha256(checkpoint_path(checkpoint)))


def content_changes(then: Content, now: Content) -> list[str]:
    """One line for the data and one for the checkpoint where they are others than ``then``, with the way out."""
    lines = []
    if then.data is not None and now.data is not None and (differ := data_changes(then.data, now.data)):
        lines.append(f"dataset: its content differs from when the study began ({differ})")
    if then.checkpoint_sha256 is not None and then.checkpoint_sha256 != now.checkpoint_sha256:
        prints = then_and_now("SHA-256", then.checkpoint_sha256, now.checkpoint_sha256 or "none")
        lines.append(f"parent.checkpoint: its content differs from when the study began ({prints})")
    return [f"{line}; restore it, or start another study with --out" for line in lines]
