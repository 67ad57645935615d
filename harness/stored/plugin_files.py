"""The plug-in files of a study: copied to its folder, where every node runs them, and fixed once work has begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accounting.study.facts import KeptPlugin
from accounting.study.folder import StudyFolder
from accounting.study.plugins import PluginFile
from harness.paths import replacing


def as_documents(files: Sequence[PluginFile]) -> list[KeptPlugin]:
    """The files in the form of ``study.yaml``, at its top level."""
    return [{"name": file.name, "sha256": file.sha256} for file in files]


def plugin_changes(held: Sequence[KeptPlugin] | None, files: Sequence[PluginFile]) -> list[str]:
    """One line for each file that has changed since the study began, or that the config no longer names.

    ``held`` is what ``study.yaml`` says (None: it was written by an older version, or there were no files).
    """
    now = {file.name: file for file in files}
    lines = []
    for each in held or []:
        name, then = each["name"], each["sha256"]
        if name not in now:
            lines.append(
                f"plugins: the study began with {name}.py, which is not named now; name it under plugins again"
            )
        elif now[name].sha256 != then:
            lines.append(
                f"plugins: {now[name].path} differs from when the study began (SHA-256 {then[:12]} then, "
                f"{now[name].sha256[:12]} now); restore it, or start another study with --out"
            )
    return lines


def places_kept(files: Sequence[PluginFile]) -> dict[str, list[str]]:
    """The key ``plugins`` of ``study.yaml``: the copies, relative to it, so that the folder can be moved."""
    return {"plugins": [f"plugins/{file.name}.py" for file in files]} if files else {}


def keep(files: Sequence[PluginFile], paths: StudyFolder) -> None:
    """Copy the files to the study's folder."""
    for file in files:
        with replacing(paths.plugins / f"{file.name}.py") as temporary:
            temporary.write_bytes(Path(file.path).read_bytes())


def kept(files: Sequence[PluginFile], paths: StudyFolder) -> tuple[PluginFile, ...]:
    """The same files as copied to the study's folder, where workers find them."""
    return tuple(replace(file, path=str(paths.plugins / f"{file.name}.py")) for file in files)
