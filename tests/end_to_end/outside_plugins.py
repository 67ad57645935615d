"""The plug-ins of ``examples/plugins`` as text by name: one file each, outside the package, as a user writes them."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "plugins"
STUDY = yaml.safe_load((FOLDER / "study.yaml").read_text(encoding="utf-8"))
"""The study in the same folder, which uses all of the plug-ins."""
ALL = {
    name: (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for name in ("stripes", "energy", "handful", "job_counts", "smallest")
}
"""Each plug-in's text by the name of its file."""
