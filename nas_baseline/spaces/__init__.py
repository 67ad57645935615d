"""Search spaces as data: one YAML file each, found here by name or anywhere by path."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from accounting.study.yaml12 import YamlProblem, read_one
from nas_baseline.spaces.declared import StageSpace


def list_spaces() -> list[str]:
    """The names of the spaces that come with the package."""
    folder = resources.files("nas_baseline.spaces")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_space(
    name_or_path: str,
    in_chans: int | None = None,
    num_classes: int | None = None,
    image_size: int | Sequence[int] | None = None,
) -> StageSpace:
    """The space of that name, or in that YAML file.

    ``in_chans``, ``num_classes`` and ``image_size`` replace what the file says; several image sizes become a dimension.

    Raises:
        ValueError: in one line, an unknown name, an unreadable file, or what is wrong in it.

    """
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise ValueError(f"search space file '{name_or_path}' does not exist")
        text = path.read_text(encoding="utf-8")
    elif name_or_path in list_spaces():
        text = (resources.files("nas_baseline.spaces") / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    else:
        allowed = ", ".join(list_spaces())
        raise ValueError(f"search space '{name_or_path}' is not known; allowed: {allowed}, or the path of a .yaml file")
    try:
        data = read_one(text)
    except YamlProblem as error:
        raise ValueError(f"search space '{name_or_path}' is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"search space '{name_or_path}' must be a mapping with name, stem, stages, head")
    given = {"in_chans": in_chans, "num_classes": num_classes, "image_size": image_size}
    return StageSpace(data | {key: value for key, value in given.items() if value is not None})
