"""The page's provenance says who taught, in how many jobs, and who is charged for that."""

from __future__ import annotations

import pytest
from fake_study import build_study

from reports.data.frames import load_frames
from reports.page.provenance import provenance

PARENT, FILE = {"name": "parent", "job": "prune-r0-pretrain"}, {"name": "timm:x", "job": None}


def lines(folder, *teachers):
    def write(line, r, targets):
        for number, teacher in enumerate(teachers):
            line.attempt(
                f"supernet-r{r}-{number}", "supernet", "search", None, r, 0.1, macs=1, outcome={}, teacher=teacher
            )

    more = {"supernet": write} if teachers else {}
    frames = load_frames(build_study(folder, routes=("prune",), replicates=1, more=more))
    return [said for said in provenance(frames).lines if said.startswith("Teachers")]


SAID = {
    "nobody": ((), []),
    "the parent": (
        (PARENT, PARENT),
        ["Teachers: parent (in 2 jobs). Their passes are in the cost of the jobs that learned. The parent's training is "
         "charged to whatever learned from it, by the policy in force."],
    ),
    "both": (
        (PARENT, FILE),
        ["Teachers: parent (in 1 job), timm:x (in 1 job). Their passes are in the cost of the jobs that learned. The "
         "parent's training is charged to whatever learned from it, by the policy in force. Nobody is charged for the "
         "training of timm:x, which is not in this study."],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_who_taught_and_who_pays(case, tmp_path):
    teachers, said = SAID[case]
    assert lines(tmp_path, *teachers) == said
