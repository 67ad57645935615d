"""Work done twice, and jobs stopped midway by a budget: one sentence each."""

from __future__ import annotations

from reports.data.repeated import RepeatedWork, RunAgain, StoppedMidway, TrainedAgain


def repeated_sentence(work: RepeatedWork) -> str:
    """A sentence such as ``JOB was run again, which is in the bill as lost work: …``."""
    if isinstance(work, RunAgain):
        return f"{work.job} was run again, which is in the bill as lost work: {work.why}."
    if isinstance(work, StoppedMidway):
        return f"{work.job} was {work.reason}; what it has trained is kept, and a larger budget continues from there."
    return _trained_again(work)


def _trained_again(work: TrainedAgain) -> str:
    several = f"{work.num_epochs:g} epochs were" if work.num_epochs > 0 else "An epoch that is not on record was"
    epochs = "1 epoch was" if work.num_epochs == 1 else several
    why = "was gone" if work.distrusted is None else f"could not be trusted ({work.distrusted})"
    return f"{epochs} trained again in {work.job}, which is in the bill as lost work: the state of the attempt before {why}."
