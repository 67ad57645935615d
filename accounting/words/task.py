"""What the quality of a network is called, and which numbers it can be: the words of a task, for all who tell results.

What the task does (its loss, measure and head) is in ``harness/task``. A study keeps the words of its task, and whoever
reads the study tells them; of older studies they are those of classification. The names of fields in ledgers, tables and
JSON (``val_top1``) are not made from these words: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

CEILING = 0.9995
"""A quality from here on prints as 100.0 %, and none can be better."""


@dataclass(frozen=True)
class TaskWords:
    """A task's name, and how the quality of its networks is told. Quality is a fraction, 0 to 1; higher is better.

    ``metric`` is the short name of the quality, ``quality`` and ``qualities`` the everyday ones; ``output`` and ``outputs``
    are what the head gives a number for, ``head`` what the numbers themselves are called in an exported file.
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
    """What gives them, in the network."""
    unit: str = "%"
    """What axes say of a quality times 100."""
    guessing: str = "chance"
    """What the quality of a network that knows nothing is called."""
    chance_level: float | None = None
    """That quality; where left out, one over the number of outputs, as of guesses among equally frequent ones."""
    ceiling: float = CEILING
    """From here on none can be better."""

    def chance(self, num_outputs: int) -> float:
        """The quality of a network that knows nothing."""
        return 1 / num_outputs if self.chance_level is None else self.chance_level

    @property
    def a_quality(self) -> str:
        """With its article."""
        return f"{'an' if self.quality[:1].lower() in 'aeiou' else 'a'} {self.quality}"

    def fill(self, text: str) -> str:
        """A text that is written once for all tasks, with this one's words: ``{Quality} against MACs``."""
        said = {one.name: str(getattr(self, one.name)) for one in fields(self)} | {"a_quality": self.a_quality}
        for name, word in said.items():
            text = text.replace(f"{{{name}}}", word).replace(f"{{{name.capitalize()}}}", word.capitalize())
        return text

    def as_dict(self) -> dict[str, str | float | None]:
        """As ``study.yaml`` keeps it; :meth:`read` reads it."""
        return asdict(self)

    @staticmethod
    def read(said: object) -> TaskWords:
        """What :meth:`as_dict` gave; what is missing or of another type is as classification has it."""
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
"""Of a word: what a heading or an axis has room for. Braces and ``$`` would be read as formulas there."""
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
    """The task of the study that this process tells of."""

    words = CLASSIFICATION


_told = _Told()


def learn_task(words: TaskWords) -> None:
    """From now on this process tells of a study of this task."""
    _told.words = words


def task() -> TaskWords:
    """The words of the task of the study that was read or checked last; commands that read several refuse several tasks."""
    return _told.words
