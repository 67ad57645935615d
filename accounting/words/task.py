"""What the quality of a network is called, and which numbers it can be: the words of a task, for all who tell results.

The words of the one task that there is. What the task does (its loss, measure and head) is in ``harness/task``. The names of
fields in ledgers, tables and JSON (``val_top1``) are not made from these words: they stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskWords:
    """A task's name, and how the quality of its networks is told. Quality is a fraction, 0 to 1; higher is better.

    ``metric`` is the short name of the quality, ``quality`` and ``qualities`` the everyday ones; ``output`` and ``outputs``
    are what the head gives a number for.
    """

    name: str
    metric: str
    quality: str
    qualities: str
    better: str
    output: str
    outputs: str

    @property
    def on_validation(self) -> str:
        """Of a column or a sentence: the quality on the validation split."""
        return f"validation {self.metric}"

    @property
    def on_val(self) -> str:
        """The same where there is little room."""
        return f"val {self.metric}"

    @property
    def on_test(self) -> str:
        """The quality on the test split."""
        return f"test {self.metric}"

    def chance(self, num_outputs: int) -> float:
        """The quality of a network that knows nothing: of guesses among equally frequent outputs."""
        return 1 / num_outputs


CEILING = 0.9995
"""A quality from here on prints as 100.0 %, and none can be better."""
CLASSIFICATION = TaskWords("classification", "top-1", "accuracy", "accuracies", "more accurate", "class", "classes")
TASK_WORDS = CLASSIFICATION
"""Of every study: classification is the only task so far."""
