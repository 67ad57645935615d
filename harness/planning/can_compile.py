"""Whether ``torch.compile`` works on this machine: tried on the smallest network, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import torch
from torch import nn

from accounting.study.own_python import own_python
from accounting.words.plain_text import one_line
from harness.config.phases import compiled_phases
from harness.config.study import StudyConfig
from harness.errors import InputError
from harness.training.compiled import CannotCompile, compiling

ANSWERS_S = 300.0
"""How long the process may take. It takes about ten seconds, and more where torch compiles for the first time."""


def check_compiles(config: StudyConfig, device: str) -> None:
    """``InputError`` if the study compiles trainings and this machine cannot, for instance without a C++ compiler."""
    phases = compiled_phases(config)
    if phases and (problem := compile_problem(device)) is not None:
        raise InputError(f"{phases[0]}.compile: true given, and on this machine {problem}")


def compile_problem(device: str) -> str | None:
    """Why nothing can be compiled here for ``cpu`` or ``cuda``, in one line; None if it works."""
    words, env = own_python("-c", "from harness.planning.can_compile import tell; tell()", device)
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=ANSWERS_S, check=False)
    except subprocess.TimeoutExpired:
        return f"torch.compile gives no answer in {ANSWERS_S:g} s; set compile to false"
    try:
        problem: str | None = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it died"])[-1]
        return f"torch.compile ends its process ({one_line(last, 200)}); set compile to false"
    return problem


def tell() -> None:
    """Compile a network without weights for the device that is the last argument; print what is wrong as JSON, or null."""
    device = torch.device("cuda:0" if sys.argv[-1] == "cuda" else "cpu")
    model, problem = nn.Hardswish(), None
    try:
        with compiling(model, wanted=True) as compiles, torch.no_grad(), compiles.passes():
            model(torch.ones(2, 1, 4, 4, device=device))
    except CannotCompile as error:
        problem = str(error)
    sys.stdout.write(json.dumps(problem) + "\n")
