"""A study's state for a scrape: read back by the grammar of the format."""

import dataclasses
import re

import pytest

from accounting.ledger.driver_lock import held
from reports.openmetrics import openmetrics
from reports.status.build import status

SAMPLE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)')


def samples(text):
    """Name and labels to value, by the grammar's own pattern; every line is a comment or a sample."""
    lines = text.split("\n")
    assert lines[-1] == "# EOF"
    found = {}
    for line in lines[:-1]:
        if not line.startswith("# "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            found[name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))] = float(value)
    return found


def value(found, name, **labels):
    return found[f"prune_or_search_{name}", frozenset({"study": "fake", **labels}.items())]


def test_a_finished_study(study):
    found = samples(openmetrics(status(study)))
    assert value(found, "jobs", route="prune", phase="pretrain", state="done") == 3
    assert value(found, "spent_device_seconds_total", route="prune", replicate="0") == pytest.approx(3.84 * 3600)
    assert value(found, "best_val_top1_ratio", route="search", target_macs="500000") == 0.86
    assert value(found, "study_info", device_kind="cpu_core") == 1
    assert value(found, "driver", prune_or_search_driver="alive") == 0
    total = sum(v for (name, _), v in found.items() if name == "prune_or_search_spent_device_seconds_total")
    assert value(found, "allocated_device_seconds_total", device_kind="cpu_core") == pytest.approx(total)
    assert not any(name == "prune_or_search_budget_device_seconds" for name, _ in found)


def test_a_running_study_with_a_budget(make_study):
    folder = make_study(until_h=3.55, budget={"search": None, "prune": 7.04})
    with held(folder / ".lock"):
        found = samples(openmetrics(status(folder)))
    assert value(found, "budget_device_seconds", route="prune", replicate="0") == pytest.approx(7.04 * 3600)
    assert value(found, "jobs", route="prune", phase="finetune", state="running") > 0


def test_a_name_with_quotes_and_line_ends(study):
    state = dataclasses.replace(status(study), study='a "b"\\c\nd')
    assert r'study="a \"b\"\\c\nd"' in openmetrics(state)
    samples(openmetrics(state))


def test_the_command(study, capsys, monkeypatch):
    from harness import cli

    for words, code in (
        (["--openmetrics"], 0),
        (["--openmetrics", "--json"], 2),
    ):
        monkeypatch.setattr("sys.argv", ["prune-or-search", "status", str(study), *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == code
    out = capsys.readouterr().out
    assert out.endswith("# EOF\n")
    assert out.count("# EOF") == 1
