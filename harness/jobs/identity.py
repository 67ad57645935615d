"""Which job it is: a value; its text is the name in ledgers, folders and messages."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class JobId:
    """One step of a route in one replicate, for one target in MACs (None: for all of them).

    ``str`` gives the name, unique in the study and the same every time the study is replayed. Nobody reads the name back.
    """

    route: str
    replicate: int
    target: int | None
    step: str

    def __str__(self) -> str:
        """``search-r0-candidate-003``, ``prune-r1-t600000-global_lamp-finetune``."""
        return f"{_place(self.route, self.replicate, self.target)}{self.step}"

    def then(self, *steps: str) -> JobId:
        """The job that does something with what this one leaves; its name begins with this one's."""
        return replace(self, step="-".join((self.step, *steps)))

    @staticmethod
    def named(name: str, route: str, replicate: int, target: int | None) -> JobId:
        """The id of a record, which has everything but the step beside the name.

        Raises:
            ValueError: the name is of another route, replicate or target.

        """
        place = _place(route, replicate, target)
        if not name.startswith(place):
            raise ValueError(f"job {name} is not of {place.removesuffix('-')}")
        return JobId(route, replicate, target, name.removeprefix(place))


def _place(route: str, replicate: int, target: int | None) -> str:
    return f"{route}-r{replicate}-" + ("" if target is None else f"t{target}-")
