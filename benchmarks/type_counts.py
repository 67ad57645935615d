"""How much of the five packages is untyped: signatures with ``dict[str, Any]``, uses of ``Any``, asserts for types.

    python benchmarks/type_counts.py [--list]

A signature counts once, however often it has ``dict[str, Any]``, directly or through an alias
(``Record = dict[str, Any]``, ``Row = Mapping[str, Any]``). ``--list`` prints the signatures.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "reports", "nas_baseline", "pruning", "accounting")
MAPPINGS = ("dict", "Mapping", "MutableMapping")
LIMITS = {"signatures": 40, "any": 80, "asserts": 0}
"""Upper limits over all five packages."""


@dataclass(frozen=True)
class Module:
    """A parsed source file."""

    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.path.relative_to(ROOT).parts[0]


def modules() -> list[Module]:
    """All source files of the packages."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def is_untyped(node: ast.AST, names: tuple[str, ...]) -> bool:
    """Whether an expression is ``NAME[str, Any]`` with one of these names."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
        and isinstance(node.slice, ast.Tuple)
        and ast.unparse(node.slice) in ("str, Any", "(str, Any)")
    )


def aliases(parsed: list[Module]) -> set[str]:
    """Names that modules give to ``dict[str, Any]`` or ``Mapping[str, Any]``."""
    return {
        target.id
        for module in parsed
        for node in module.tree.body
        if isinstance(node, ast.Assign) and is_untyped(node.value, MAPPINGS)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def signatures(module: Module, known: set[str]) -> Iterator[str]:
    """Functions with ``dict[str, Any]`` in a parameter or the result, directly or through an alias."""
    for node in ast.walk(module.tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        said = [argument.annotation for argument in every if argument is not None] + [node.returns]
        inner = [part for annotation in said if annotation is not None for part in ast.walk(_parsed(annotation))]
        if any(is_untyped(part, ("dict",)) or (isinstance(part, ast.Name) and part.id in known) for part in inner):
            yield f"{module.path.relative_to(ROOT)}:{node.lineno} {node.name}"


def num_any(module: Module) -> int:
    """How often ``Any`` is used; imports do not count."""
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(module.tree))


def num_asserts(module: Module) -> int:
    """Number of asserts that something is not None."""
    return sum(
        isinstance(node, ast.Assert)
        and any(
            isinstance(part, ast.Compare)
            and isinstance(part.ops[0], ast.IsNot)
            and ast.unparse(part.comparators[0]) == "None"
            for part in ast.walk(node.test)
        )
        for node in ast.walk(module.tree)
    )


def counts() -> tuple[dict[str, Counter[str]], list[str]]:
    """The counts of each package, and the signatures."""
    parsed = modules()
    known, found = aliases(parsed), {package: Counter[str]() for package in PACKAGES}
    listed: list[str] = []
    for module in parsed:
        named = list(signatures(module, known))
        listed += named
        found[module.package] += Counter(signatures=len(named), any=num_any(module), asserts=num_asserts(module))
    return found, listed


def _parsed(annotation: ast.expr) -> ast.expr:
    """An annotation, parsed if it is a string."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


if __name__ == "__main__":
    by_package, named = counts()
    print(f"{'':14}{'dict[str, Any] signatures':>26}{'Any':>8}{'assert … is not None':>24}")
    for name, found in by_package.items():
        print(f"{name:14}{found['signatures']:>26}{found['any']:>8}{found['asserts']:>24}")
    total = sum(by_package.values(), Counter())
    print(f"{'all':14}{total['signatures']:>26}{total['any']:>8}{total['asserts']:>24}")
    print(f"{'at most':14}{LIMITS['signatures']:>26}{LIMITS['any']:>8}{LIMITS['asserts']:>24}")
    if "--list" in sys.argv:
        print("\n".join(named))
