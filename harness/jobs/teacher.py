"""What a training learns from in addition to the labels: a trained network, and how images are prepared for it."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.ledger.specs import NetworkSpec, TeacherSpec
from harness.jobs.start import FRESH, Checkpoint, Fresh, WeightsOf


@dataclass(frozen=True)
class Teacher:
    """A network with weights, and the image size and normalisation with which it was trained.

    ``start`` says where its weights come from: another job, a user's file or delivered folder, or timm's published weights,
    which ``network`` then asks for.
    """

    name: str
    """As the config has it: ``parent``, ``timm:NAME``, or a path."""
    network: NetworkSpec
    start: WeightsOf | Checkpoint | Fresh
    macs: int
    """MACs of one image at the teacher's own image size."""
    image_shape: tuple[int, int, int]
    """Channels, height and width."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Standard deviation per channel (as ``mean``), for pixels from 0 to 1."""
    interpolation: str = "bilinear"
    """How images of another size are resized."""

    @property
    def job(self) -> str | None:
        """The job that trains it; None if it comes from elsewhere."""
        return self.start.job if isinstance(self.start, WeightsOf) else None


def teacher_json(teacher: Teacher) -> TeacherSpec:
    """The teacher as a job's spec holds it."""
    return {
        "name": teacher.name,
        "network": teacher.network,
        "macs": teacher.macs,
        "job": teacher.job,
        "checkpoint": teacher.start.path if isinstance(teacher.start, Checkpoint) else None,
        "image_shape": list(teacher.image_shape),
        "mean": list(teacher.mean),
        "std": list(teacher.std),
        "interpolation": teacher.interpolation,
    }


def teacher_from_json(spec: TeacherSpec) -> Teacher:
    """The teacher that a spec holds."""
    job, path = spec["job"], spec["checkpoint"]
    channels, height, width = spec["image_shape"]
    return Teacher(
        spec["name"],
        spec["network"],
        WeightsOf(job) if job is not None else FRESH if path is None else Checkpoint(path),
        spec["macs"],
        (channels, height, width),
        tuple(spec["mean"]),
        tuple(spec["std"]),
        spec["interpolation"],
    )
