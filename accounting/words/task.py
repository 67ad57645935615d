"""The words of a task, for all code that reports results: what a network's quality is called, and its range.

What the task does (its loss, measure and head) is in ``harness/task``. A study stores the words of its task, and its
readers use them; older studies have the words of classification. Field names in ledgers, tables and JSON (``val_top1``)
do not depend on these words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

CEILING = 0.9995
"""A quality from here on is printed as 100.0 %, and none can be better."""


@dataclass(frozen=True)
class TaskWords:
    """A task's name, and the words for its networks' quality: a fraction from 0 to 1, where higher is better.

    ``metric`` is the short name of the quality, ``quality`` and ``qualities`` are the everyday words. ``output`` and
    ``outputs`` are what the head gives a number for; ``head`` is what these numbers are called in an exported file.
    """

    name: str
    metric: str
    quality: str
    qualities: str
    better: str
    output: str
    outputs: str
    as_good: str = "as good"
    best: str = "best"
    head: str = "outputs"
    head_layer: str = "head"
    """The part of the network that computes them."""
    unit: str = "%"
    """The unit on axes, for a quality times 100."""
    guessing: str = "chance"
    """The word for the quality of a network that has learned nothing."""
    chance_level: float | None = None
    """That quality; by default, one over the number of outputs, as when guessing among equally frequent ones."""
    ceiling: float = CEILING
    """From this quality on, none can be better."""

    def chance(self, num_outputs: int) -> float:
        """The quality of a network that has learned nothing."""
        return 1 / num_outputs if self.chance_level is None else self.chance_level

    @property
    def a_quality(self) -> str:
        """The word for quality, with its article."""
        return f"{'an' if self.quality[:1].lower() in 'aeiou' else 'a'} {self.quality}"

    def fill(self, text: str) -> str:
        """Fill this task's words into a text written once for all tasks: ``{Quality} against MACs``."""
        said = {one.name: str(getattr(self, one.name)) for one in fields(self)} | {"a_quality": self.a_quality}
        for name, word in said.items():
            text = text.replace(f"{{{name}}}", word).replace(f"{{{name.capitalize()}}}", word.capitalize())
        return text

    def as_dict(self) -> dict[str, str | float | None]:
        """As stored in ``study.yaml``; :meth:`read` reads it."""
        return asdict(self)

    @staticmethod
    def read(said: object) -> TaskWords:
        """Read what :meth:`as_dict` returned; whatever is missing or of another type is taken from classification."""
        given = said if isinstance(said, Mapping) else {}
        own = asdict(CLASSIFICATION)
        texts = {key: given[key] for key, value in own.items() if isinstance(value, str) and _is_word(given.get(key))}
        level, ceiling = _share(given.get("chance_level")), _share(given.get("ceiling"))
        found = TaskWords(**{**{key: value for key, value in own.items() if isinstance(value, str)}, **texts})
        return TaskWords(**{**asdict(found), "chance_level": level, "ceiling": CEILING if ceiling is None else ceiling})


def _is_word(said: object) -> bool:
    return isinstance(said, str) and 0 < len(said) <= MAX_CHARS and not set(said) & set("{}$")


def _share(said: object) -> float | None:
    if isinstance(said, bool) or not isinstance(said, (int, float)) or not 0 <= said <= 1:
        return None
    return float(said)


MAX_CHARS = 40
"""Length limit of a word, from the room in headings and on axes. Braces and ``$`` would be read as formulas there."""
CLASSIFICATION = TaskWords(
    name="classification",
    metric="top-1",
    quality="accuracy",
    qualities="accuracies",
    better="more accurate",
    output="class",
    outputs="classes",
    as_good="as accurate",
    best="most accurate",
    head="logits",
    head_layer="classifier",
)


class _Told:
    """The task of the study that this process reports on; replaced whole with every study that is read or checked."""

    words = CLASSIFICATION


_told = _Told()


def learn_task(words: TaskWords) -> None:
    """From now on, this process reports on a study of this task."""
    _told.words = words


def task() -> TaskWords:
    """The task words of the study read or checked last; commands that read several studies refuse mixed tasks."""
    return _told.words
