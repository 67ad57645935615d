"""Changes to Ray Tune's controller: every failed trial is reported with its error, and no start-up is wasted.

The facts about Ray 2.60 behind each change; all changes are to private parts, and are undone when the block ends:

- *Errors.* The actor manager ends ``Tuner.fit`` on Ray errors that it does not know, such as ``OutOfMemoryError`` from
  Ray's memory monitor; here these reach it as the death of the actor, which they are. A failing trial's error is
  written to files (only if it is of certain classes), and the searcher is told without the error, or not at all if an
  actor could not be reset. Every failure goes through ``Trial.handle_error``, so the report is made there. Tune itself
  retries a trial whose node was preempted; here only the searcher retries.
- *Results.* A trial's default result is asked of its actor. If that is dead, only some classes of errors are expected,
  and any other ends ``Tuner.fit``; here each of them means that there is no result.
- *Actors.* All idle actors but one end at once if no trial waits, and a trial that begins takes an idle actor even if
  its own is halfway through its start. Both waste seconds of a held device, and with short jobs one device of two is
  never used, because its actor is always starting. So idle actors are kept for about as long as a start takes, which
  costs at most twice what knowing the future would; and a trial whose own actor is starting waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.tune.execution import tune_controller
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.utils.object_cache import _ObjectCache

from harness.backends.replaced import replaced
from harness.errors import typed_line

KEEP_IDLE_S = 5.0
"""About the time that a worker takes to start, mostly for importing torch."""

Failed = Callable[[str, BaseException | None], None]
"""Called with a trial's id and its error, perhaps more than once for one failure."""


class WorkerLost(ray.exceptions.RayActorError):
    """The death of a worker, with the text of the error that reported it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error_msg=typed_line(error))


class PatientCache(_ObjectCache):
    """Idle actors, each kept for a while even if no trial waits for one."""

    def __init__(self, may_keep_one: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(may_keep_one)
        self._clock = clock
        self._since_s: dict[object, float] = {}

    def cache_object(self, key: object, obj: object) -> bool:
        """Keep an actor that has become idle."""
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        self._since_s[obj] = self._clock()
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Generator[Any, None, None]:
        """Remove and yield those that have been idle for long, or all."""
        end_s = self._clock() - KEEP_IDLE_S
        for idle in self._cached_objects.values():
            for obj in [obj for obj in idle if force_all or self._since_s[obj] <= end_s]:
                idle.remove(obj)
                self._num_cached_objects -= 1
                yield obj


@contextmanager
def changed_tune(failed: Failed) -> Iterator[None]:
    """Change Tune while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(replaced(RayActorManager, "_actor_task_failed", _as_death))
        stack.enter_context(replaced(Trial, "handle_error", lambda plain: _telling(failed)))
        stack.enter_context(replaced(Trial, "_get_default_result_or_future", _none_of_the_dead))
        stack.enter_context(replaced(tune_controller, "_ObjectCache", lambda plain: PatientCache))
        stack.enter_context(replaced(TuneController, "_maybe_reuse_cached_actor", _unless_starting))
        yield


def _as_death(plain: Callable[..., object]) -> object:
    known = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError)

    def failed(self: RayActorManager, tracked_actor_task: object, exception: Exception) -> None:
        is_loss = isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known)
        plain(self, tracked_actor_task, WorkerLost(exception) if is_loss else exception)

    return failed


def _telling(failed: Failed) -> object:
    def handle_error(self: Trial, exc: BaseException | None = None) -> None:
        self.run_metadata.num_failures += 1
        self.run_metadata.invalidate_cache()
        failed(self.trial_id, exc)

    return handle_error


def _none_of_the_dead(plain: Callable[..., object]) -> object:
    def default_result(self: Trial) -> object:
        try:
            found = plain(self)
        except ray.exceptions.RayError:
            self._default_result_or_future = found = None
        return found

    return default_result


def _unless_starting(plain: Callable[..., object]) -> object:
    def reuse(self: TuneController, trial: Trial) -> bool:
        own = self._trial_to_actor.get(trial)
        if own is not None and trial not in self._resetting_trials and self._actor_manager.is_actor_started(own):
            return False
        return bool(plain(self, trial))

    return reuse
