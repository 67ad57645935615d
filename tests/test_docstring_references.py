"""References in docstrings exist: our modules, and names or members in them, as in ``:class:`pruning.layers.Role```."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("accounting", "harness", "nas_baseline", "pruning", "reports")
REFERENCE = re.compile(rf":(?:class|func|mod|meth|data|attr|exc):`~?((?:{'|'.join(PACKAGES)})\.[\w.]+)`")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def defined(body: list[ast.stmt]) -> dict[str, set[str]]:
    """The names that a module or class defines, each with its own members, and those re-exported in ``__all__``."""
    found: dict[str, set[str]] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = set(defined(node.body))
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = set()
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            found |= {name: set() for name in names}
            if "__all__" in names and node.value is not None:
                found |= {name: set() for name in ast.literal_eval(node.value)}
    return found


def is_there(reference: str) -> bool:
    parts = reference.split(".")
    for length in range(len(parts), 0, -1):
        if (path := MODULES.get(".".join(parts[:length]))) is not None:
            name, member = (*parts[length:], None, None)[:2]
            names = defined(ast.parse(path.read_text(encoding="utf-8")).body)
            return name is None or (name in names and (member is None or member in names[name]))
    return False


@pytest.mark.parametrize(
    ("reference", "there"),
    [
        ("pruning.solve", True),
        ("pruning.solve.prune_to_macs", True),
        ("reports.compare.reach.Steps.cost_near", True),
        ("accounting.cost.values.Attempt.links", True),
        ("pruning.solve.prune_to_mac", False),
        ("pruning.solved", False),
        ("reports.compare.reach.Steps.cost_far", False),
    ],
)
def test_a_reference_is_a_module_a_name_or_a_member(reference: str, there: bool) -> None:
    assert is_there(reference) is there


def test_every_reference_leads_somewhere() -> None:
    found = {
        (name, reference)
        for name, path in MODULES.items()
        for reference in REFERENCE.findall(path.read_text(encoding="utf-8"))
    }
    assert len(found) > 100
    assert sorted(each for each in found if not is_there(each[1])) == []
