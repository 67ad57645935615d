"""Plug-ins as a user would write them, each one file outside the package: those of ``examples/plugins``, as text by name."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "plugins"
STUDY = yaml.safe_load((FOLDER / "study.yaml").read_text(encoding="utf-8"))
"""The study beside them, which uses them all."""
ALL = {
    name: (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for name in ("stripes", "energy", "handful", "job_counts", "smallest")
}
"""By the name that their files give them."""
