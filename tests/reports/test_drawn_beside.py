"""Figures that a second process draws are those that this process draws; without one, this process draws them all."""

import os
import signal
import subprocess
import sys

import pytest

from reports.data.frames import load_frames
from reports.page import beside, render
from reports.page.beside import SecondProcess, second_process
from reports.page.build import build_report


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(beside, "_num_cores", lambda: 2)


@pytest.fixture
def few_figures(monkeypatch):
    """Only two figures, of which each drawing is a second or more."""
    figures = {name: figure for name, figure in render.discover().items() if name in ("accuracy_macs", "schedule")}
    monkeypatch.setattr(render, "discover", lambda: figures)
    return sorted(figures)


@pytest.fixture
def drawn_here(monkeypatch):
    """The names of the figures that this process draws."""
    names, real = [], render.drawn
    monkeypatch.setattr(render, "drawn", lambda figure, asked: names.append(asked.name) or real(figure, asked))
    return names


def test_both_processes_draw_the_same_report(study, tmp_path, two_cores, drawn_here, monkeypatch):
    monkeypatch.setattr(render.Rendering, "_draw_here", lambda self: None)  # the second process draws them all
    together = build_report(study, tmp_path / "together", beside=True).parent
    assert drawn_here == []
    monkeypatch.undo()
    alone = build_report(study, tmp_path / "alone").parent
    assert files_of(together) == files_of(alone)


def test_with_one_core_no_process_is_started(monkeypatch):
    monkeypatch.setattr(beside, "_num_cores", lambda: 1)
    monkeypatch.setattr(beside, "_started", lambda: pytest.fail("a process was started"))
    with second_process(wanted=True) as second:
        assert second is None


def test_a_process_that_cannot_start_is_done_without(two_cores, monkeypatch):
    monkeypatch.setattr(beside, "own_python", lambda *words: ([os.devnull, *words], {}))
    with second_process(wanted=True) as second:
        assert second is None


def test_what_a_dead_process_leaves_is_drawn_here(frames, tmp_path, two_cores, few_figures, drawn_here):
    with second_process(wanted=True) as second:
        os.kill(second._process.pid, signal.SIGKILL)
        second._process.wait()
        found = render.Rendering(frames, tmp_path, second).finished()
    assert list(found) == few_figures == sorted(drawn_here)


NEVER_ANSWERS = "import time\nwhile True: time.sleep(60)"
READS_AND_NEVER_ANSWERS = "import sys\nwhile sys.stdin.buffer.read1(65536): pass\nsys.stdin.buffer.read()"
ANSWERS_HALF = (
    "import sys, time\nsys.stdout.buffer.write(bytes([128, 5, 149, 200]))\nsys.stdout.flush()\ntime.sleep(600)"
)


@pytest.mark.parametrize("program", [NEVER_ANSWERS, READS_AND_NEVER_ANSWERS, ANSWERS_HALF])
def test_what_a_process_that_does_not_answer_leaves_is_drawn_here(
    program, frames, tmp_path, few_figures, drawn_here, caplog
):
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        second = SecondProcess(process, limit_s=0.5)
        found = render.Rendering(frames, tmp_path, second).finished()
        second.end()
    assert process.returncode == -signal.SIGKILL
    assert list(found) == few_figures == sorted(drawn_here)
    (said,) = [record.getMessage() for record in caplog.records if "drawn by a second process" in record.getMessage()]
    assert "within 0.00833 minutes; it is drawn here" in said


def test_a_figure_that_the_second_process_refuses_is_drawn_here(frames, tmp_path, few_figures, drawn_here, monkeypatch):
    monkeypatch.setattr(SecondProcess, "drawn", lambda self, asked, info: None)
    found = render.Rendering(frames, tmp_path, SecondProcess(None)).finished()
    assert list(found) == few_figures == sorted(drawn_here)


def test_an_error_of_a_figure_is_raised_here(make_study, two_cores, few_figures, monkeypatch):
    """The second process cannot draw rows without columns either, and this process then says why."""
    folder = make_study(routes=("prune",), targets=(500_000,), replicates=1)
    figure = render.discover()["schedule"]
    broken = figure.data(load_frames(folder)).drop(columns="lane")
    monkeypatch.setattr(figure, "data", lambda frames: broken)
    with pytest.raises(KeyError, match="lane"):
        build_report(folder, beside=True)
    assert not [path for path in folder.iterdir() if "report" in path.name]
