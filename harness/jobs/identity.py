"""A job's identity, as a value. Its text is the job's name in ledgers, folders and messages."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class JobId:
    """One step of a route in one replicate, for one target in MACs (None: for all targets).

    ``str`` gives the name, which is unique in the study and the same in every replay. Names are never parsed.
    """

    route: str
    replicate: int
    target: int | None
    step: str

    def __str__(self) -> str:
        """``search-r0-candidate-003``, ``prune-r1-t600000-global_lamp-finetune``."""
        return f"{_place(self.route, self.replicate, self.target)}{self.step}"

    def then(self, *steps: str) -> JobId:
        """The id of a job that continues from what this one leaves; its name begins with this one's."""
        return replace(self, step="-".join((self.step, *steps)))

    @staticmethod
    def named(name: str, route: str, replicate: int, target: int | None) -> JobId:
        """The id for a record, which has the name and every part of it except the step.

        Raises:
            ValueError: the name belongs to another route, replicate or target.

        """
        place = _place(route, replicate, target)
        if not name.startswith(place):
            raise ValueError(f"job {name} is not of {place.removesuffix('-')}")
        return JobId(route, replicate, target, name.removeprefix(place))


def _place(route: str, replicate: int, target: int | None) -> str:
    return f"{route}-r{replicate}-" + ("" if target is None else f"t{target}-")
