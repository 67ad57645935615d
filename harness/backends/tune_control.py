"""What Ray Tune's controller does otherwise here: every trial that fails is told with its error, and no start-up is wasted.

Facts of Ray 2.60 behind each change, all of them to private parts, undone when the block ends:

- *Errors.* The actor manager ends ``Tuner.fit`` on errors of Ray that it does not know, such as ``OutOfMemoryError`` of
  Ray's memory monitor: they are given to it as the death of the actor that they are. A failing trial's error is written to
  files (only if it is of certain classes) and the searcher is told without it, or, where an actor could not be reset, not
  at all: all ways go through ``Trial.handle_error``, so that is what tells. And Tune itself tries a trial again whose node
  was preempted: here only the searcher does.
- *Actors.* A trial that begins takes an idle actor if there is one, though its own is half way through its start: seconds of
  a held device, and the next trial begins a start of its own. So a trial whose actor is starting waits for that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from harness.errors import typed_line

Failed = Callable[[str, BaseException | None], None]
"""Called with a trial's id and its error; for one failure perhaps more than once."""


class WorkerLost(ray.exceptions.RayActorError):
    """The death of a worker, in the words of the error that told it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error_msg=typed_line(error))


@contextmanager
def changed_tune(failed: Failed) -> Iterator[None]:
    """Change Tune while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(_replaced(RayActorManager, "_actor_task_failed", _as_death))
        stack.enter_context(_replaced(Trial, "handle_error", lambda plain: _telling(failed)))
        stack.enter_context(_replaced(TuneController, "_maybe_reuse_cached_actor", _unless_starting))
        yield


@contextmanager
def _replaced(owner: type, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    plain = getattr(owner, name)
    setattr(owner, name, make(plain))
    try:
        yield
    finally:
        setattr(owner, name, plain)


def _as_death(plain: Any) -> Any:
    known = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError)

    def failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        is_loss = isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known)
        plain(self, tracked_actor_task, WorkerLost(exception) if is_loss else exception)

    return failed


def _telling(failed: Failed) -> Any:
    def handle_error(self: Trial, exc: BaseException | None = None) -> None:
        self.run_metadata.num_failures += 1
        self.run_metadata.invalidate_cache()
        failed(self.trial_id, exc)

    return handle_error


def _unless_starting(plain: Any) -> Any:
    def reuse(self: TuneController, trial: Trial) -> bool:
        own = self._trial_to_actor.get(trial)
        if own is not None and trial not in self._resetting_trials and self._actor_manager.is_actor_started(own):
            return False
        return bool(plain(self, trial))

    return reuse
