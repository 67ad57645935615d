"""What the reports need to know of a study's resolved config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounting.study.yaml12 import YamlProblem, read_written
from accounting.words.plain_text import one_line, plain_values
from reports.errors import NotAStudy


@dataclass(frozen=True)
class StudyInfo:
    """Name, data, MACs targets (ascending), number of replicates, configured routes, budget in device-hours."""

    name: str
    dataset: str
    targets: tuple[int, ...]
    replicates: int
    routes: tuple[str, ...]
    budget_h: dict[str, float]

    @property
    def num_targets(self) -> int:
        """How many targets share what is spent on all of them."""
        return len(self.targets)


def read_study(folder: Path) -> tuple[StudyInfo, dict[str, Any]]:
    """Read ``study.yaml``: the typed essentials, and the whole document.

    Raises:
        NotAStudy: no such folder or file, no YAML, or not a resolved study.

    """
    path = folder / "study.yaml"
    if not folder.is_dir():
        raise NotAStudy(f"{folder} is not a folder; expected a study's folder, such as runs/quickstart")
    if not path.is_file():
        raise NotAStudy(f"{folder} is not a study: it has no study.yaml; `prune-or-search run` makes one")
    try:
        document = read_written(path.read_text(encoding="utf-8"))
    except (YamlProblem, UnicodeDecodeError, OSError) as error:
        raise NotAStudy(f"{path} cannot be read as YAML: {one_line(error)}") from error
    study = document.get("study") if isinstance(document, dict) else None
    if not isinstance(study, dict):
        raise NotAStudy(f"{path} has no `study:` section; is it a config and not the study.yaml of a run?")
    document = plain_values(document)
    return _info(path, document["study"]), document


def _info(path: Path, study: dict[str, Any]) -> StudyInfo:
    targets = study.get("targets")
    if not isinstance(targets, list) or not targets or not all(type(target) is int for target in targets):
        raise NotAStudy(f"{path}: study.targets is {targets!r}; expected a list of MACs as integers")
    replicates = study.get("replicates", 1)
    if type(replicates) is not int or replicates < 1:
        raise NotAStudy(f"{path}: study.replicates is {replicates!r}; expected an integer of at least 1")
    dataset = study.get("dataset")
    routes = study.get("routes")
    budget = study.get("budget")
    return StudyInfo(
        name=str(study.get("name", path.parent.name)),
        dataset=str(dataset.get("name", "unknown") if isinstance(dataset, dict) else dataset or "unknown"),
        targets=tuple(sorted(targets)),
        replicates=replicates,
        routes=tuple(name for name, config in routes.items() if config is not None) if isinstance(routes, dict) else (),
        budget_h=_budget_h(budget) if isinstance(budget, dict) else {},
    )


def _budget_h(budget: dict[str, Any]) -> dict[str, float]:
    """Budgets per route and replicate; a resolved study gives them as numbers of device-hours."""
    return {
        str(route).removesuffix("_h"): float(value)
        for route, value in budget.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
