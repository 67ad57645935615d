"""A spec's cell, made from its line in the ledger, is what parsing and writing the spec gives."""

import json

import pytest

from reports.data import spec_cells
from reports.data.spec_cells import SpecCells

SPECS = [
    {"job": "a", "seed": 3, "network": {"arch_def": [["ds,r1", "x]"], ["ir{"]], "head_bias": True}, "init_from": None},
    {"job": "b", "seed": -7, "network": {"arch_def": [["y"]], "head_bias": False}, "init_from": "a"},
    {"job": "c", "seed": 0, "network": {"arch_def": [], "head_bias": False}, "init_from": "a", "tuned_by": []},
    {"job": "50 %s %(x)s", "recipe": {"lr": 0.3, "min_lr": 1e-05, "long": 1e22, "%s": {}}, "tuned_by": ["a", "b"]},
    {"score": [[1, 2], [3]], "deep": [[[1, 2], ["z"]]], "objects": [{"b": 1, "a": [2]}, {}]},
    {"b": 1, "a": {"d": [], "c": {"f": ":", "e": ","}}},
    {},
]


def line_of(spec, **before):
    record = {"kind": "attempt_started", "t": 1.5, "devices": {"spec": 1.0}, **before, "spec": spec, "seq": 7}
    return json.dumps(record, separators=(",", ":"))


def written(line):
    return json.dumps(json.loads(line)["spec"], sort_keys=True)


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_is_written_as_when_it_is_parsed(spec):
    assert SpecCells().of_line(line_of(spec)) == written(line_of(spec))


def test_what_was_learned_from_one_spec_serves_for_others(monkeypatch):
    """Each form is parsed once; later lines with other values get their own values."""
    cells, parsed = SpecCells(), []
    monkeypatch.setattr(spec_cells, "_parsed", lambda line: parsed.append(line) or written(line))
    lines = [line_of(dict(SPECS[0], job=f"job {n}", seed=n, init_from=init)) for n in range(9) for init in (None, "z")]
    assert [cells.of_line(line) for line in lines] == [written(line) for line in lines]
    assert len(parsed) == 1


@pytest.mark.parametrize("odd", ["1.50", "-0", "1E5", " 1", "NaN", " [ 1,2 ] ", '{"b": 1, "a" :2}', '"x" ', "1.0"])
def test_a_value_written_in_another_way_is_written_as_when_it_is_parsed(odd):
    cells = SpecCells()
    for value in ("1", odd, '"w"', "[3]"):
        line = f'{{"kind":"k","spec":{{"z":{value},"a":{odd}}},"t":1}}'
        assert cells.of_line(line) == written(line)


def test_the_last_of_two_equal_keys_counts():
    for line in ('{"spec":{"a":1},"spec":{"a":2,"a":3}}', '{"spec":{"a":4},"spec":{"a":5,"a":6}}'):
        assert SpecCells().of_line(line) == written(line)


def test_many_forms_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(spec_cells, "MOST_FORMS", 3)
    monkeypatch.setattr(spec_cells, "MOST_KNOWN", 3)
    cells = SpecCells()
    lines = [line_of({f"key{n}": n, "b": n}) for n in range(10)]
    assert [cells.of_line(line) for line in lines] == [written(line) for line in lines]
    assert len(cells._forms) <= 3
    assert len(cells._known) <= 3
