"""What a change of a study's config would cost by ``plan``; shown when a question is refused for lack of measurements.

Nothing that the study names is executed here. If it has plug-in files, the user is told to run ``plan``, which first
says what it executes.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path

from accounting.study.facts import StudyDocument
from accounting.study.folder import StudyFolder
from accounting.study.yaml12 import YamlProblem, read_one
from accounting.words.names import unit_text
from accounting.words.plain_text import one_line, typed_line
from harness.errors import InputError
from reports.words.wording import number

log = logging.getLogger(__name__)

TIMED_FOR_S = 0.5
"""How long steps of the parent are timed; at least five steps, however long they take."""
BY_HAND = "`prune-or-search plan` with that change says what it costs"
PLACEHOLDER = "{...}"
"""Stands in a change for what the user must choose."""


def change_cost(folder: Path, change: str) -> str:
    """A clause such as ``by `plan`, that takes 3.2 GPU-hours more (9 jobs; an estimate on this machine)``.

    If it cannot be planned here, the clause says how to ask. If ``plan`` refuses the change, both in this study and in
    a new one, the clause says why.
    """
    if PLACEHOLDER in change:
        return BY_HAND
    try:
        document = StudyDocument.read(StudyFolder(folder).config)
        lines = [read_one(line) for line in change.splitlines()]
    except (OSError, ValueError, YamlProblem):
        return BY_HAND
    config = copy.deepcopy(document.config)
    parent = config.get("parent")
    if config.get("plugins") or (isinstance(parent, Mapping) and parent.get("pretrained")):
        return BY_HAND  # would execute a user's file, or fetch weights
    for line in lines:
        if not isinstance(line, Mapping):
            return BY_HAND
        config = _merged(config, line)
        if "targets" in line:  # they take the place of latencies
            config.pop("target", None)
    from harness.config.phases import compiled_phases
    from harness.console.plan_summary import summarise
    from harness.stored.study_file import config_in

    try:
        study = config_in(StudyDocument(config, document.facts), StudyFolder(folder))
    except InputError as error:
        return _refused(error)
    if compiled_phases(study):
        return BY_HAND  # would compile, for minutes
    refusal: InputError | None = None
    for place, what in ((folder, "more"), (None, "in another study")):
        try:
            summary = summarise(study, place, timed_for_s=TIMED_FOR_S)
        except InputError as error:
            refusal = error
            continue
        except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            log.warning("what the change costs cannot be planned here: %s", typed_line(error))
            return BY_HAND
        hours = f"{number(summary['hours'])} {unit_text(summary['unit'])}"
        return f"by `plan`, that takes {hours} {what} ({summary['num_jobs']} jobs; an estimate on this machine)"
    return BY_HAND if refusal is None else _refused(refusal)


def _refused(error: InputError) -> str:
    return f"`plan` refuses that change: {one_line(error)}"


def _merged(config: Mapping[str, object], change: Mapping[str, object]) -> dict[str, object]:
    """The config with a change applied: sections are merged, all other values are replaced."""
    return {**config, **{key: _changed(config.get(key), value) for key, value in change.items()}}


def _changed(held: object, value: object) -> object:
    return _merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
