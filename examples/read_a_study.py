"""Read a finished study's frames: what each delivered network cost, and how accurate it is.

Give the study's folder: python examples/read_a_study.py runs/quickstart
"""

import sys
from pathlib import Path

from reports.data.frames import load_frames

frames = load_frames(Path(sys.argv[1]))
networks = frames.networks.groupby(["target", "label"])[["test_top1", "cost_full_h"]].mean()
print(f"{frames.info.name}: means over replicates; costs in {frames.unit.replace('_', ' ')}")
print(networks.to_string(float_format=lambda value: f"{value:.4f}"))
assert len(networks) > 0
