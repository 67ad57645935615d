"""If a study's prices or plans cannot be used, its report is built without them and says why."""

from __future__ import annotations

import logging

import pytest

from reports.data.frames import load_frames
from reports.figures import cost_by_phase, planned_actual
from reports.page.build import build_report

GPU_ALONE = "devices: {cuda: {price_per_hour: 2, currency: EUR, date: '2026-11-01', source: a test}}"
PRICES = {
    "no price for a device": (GPU_ALONE, "prices.yaml: no price for"),
    "no prices at all": ("devices: {}", "prices.yaml, line 1: devices is not a mapping"),
    "no YAML": ("devices: [", "prices.yaml cannot be read as YAML"),
    "no text": (b"\xff\xfe", "prices.yaml cannot be read as YAML"),
}
PLANS = {
    "cut off": ('{"format": 2, "session": "s", ', "plans/plan-0001.json cannot be read"),
    "of another format": ('{"format": 3}', "plans/plan-0001.json is not a plan of format 1 or 2"),
    "incomplete": ('{"format": 2, "steps": []}', "plans/plan-0001.json is not a complete plan"),
}


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("case", PRICES)
def test_prices(case, make_study, sketched, caplog):
    content, says = PRICES[case]
    folder = make_study(replicates=1, targets=(500_000,))
    written(folder, "prices.yaml", content)
    _check_report(folder, f"no cost is given in money: {says}", caplog)
    assert "money" not in cost_by_phase.data(load_frames(folder))


@pytest.mark.parametrize("case", PLANS)
def test_plans(case, make_study, sketched, caplog):
    content, says = PLANS[case]
    folder = make_study(replicates=1, targets=(500_000,))
    written(folder, "plans/plan-0001.json", content)
    _check_report(folder, f"planned and actual cost are not compared: {says}", caplog)
    assert planned_actual.data(load_frames(folder)).empty


def _check_report(folder, says, caplog):
    with caplog.at_level(logging.WARNING):
        page = build_report(folder).read_text()
    assert says in caplog.text
    assert str(folder) not in page
    assert says in page
