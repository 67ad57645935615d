"""YAML by the rules of version 1.2: how values are read, and what is refused with its line number."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml.scanner import Scanner

from accounting.study.yaml12 import YamlProblem, read_one, read_written, read_yaml
from accounting.study.yaml_writer import write_yaml

VALUES = {
    "yes": "yes", "off": "off", "true": True, "False": False, "~": None, "null": None, "010": 10, "0o10": 8, "0x1F": 31,
    "1e-3": 0.001, "1E3": 1000.0, ".5": 0.5, "1.": 1.0, "-.inf": float("-inf"), "1:30": "1:30", "2024-01-01": "2024-01-01",
    "1_000": "1_000", "'3'": "3", '"true"': "true", "!!str 3": "3", "0.5M": "0.5M", "[1, a]": [1, "a"],
}  # fmt: skip
REFUSED = {
    "a:\n\tb: 1\n": (2, "a tab, where only spaces may be; write spaces"),
    "a: 1\nb:\t1\n": (2, "a tab, where only spaces may be; write spaces"),
    "a: 1\nb: {c: 1,\n  c: 2}\n": (3, "duplicate key 'b.c', first on line 2"),
    "a: 1\nb:\n  - {x: 1, x: 2}\n": (3, "duplicate key 'b.0.x'"),
    "a: [1, 2\n": (None, "not valid YAML"),
    "a: 1\n\tb: 2\n": (2, "not valid YAML"),
    "a: b: c\n": (1, "not valid YAML"),
    "%YAML 1.3\n---\na: 1\n": (None, "not valid YAML"),
    "x: !!python/object/apply:os.system [ls]\n": (1, "os.system"),
    "x: !secret y\n": (1, "!secret"),
    "a: &a [*a]\n": (1, "alias"),
    "? [1, 2]\n: 3\n": (1, "key that is itself"),
    "a: " + "9" * 5000: (1, "digits"),
    "a: 0x" + "f" * 5000: (1, "digits"),
    "a: 0o" + "7" * 9000: (1, "digits"),
    "[" * 80 + "]" * 80: (1, "levels deep"),
    "[" * 20_000 + "]" * 20_000: (None, "levels deep"),
    "- " * 20_000 + "a": (1, "levels deep"),
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_what_yaml_1_2_says(text):
    assert read_one(f"key: {text}\n") == {"key": VALUES[text]}
    assert type(read_one(f"key: {text}\n")["key"]) is type(VALUES[text])


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:25])
def test_what_is_refused_is_named_with_its_line(text):
    line, says = REFUSED[text]
    with pytest.raises(YamlProblem, match="") as refused:
        read_yaml(text)
    assert says in refused.value.found[0][1]
    assert line is None or refused.value.found[0][0] == line


def test_all_duplicate_keys_are_found_at_once():
    with pytest.raises(YamlProblem) as refused:
        read_yaml("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [line for line, _ in refused.value.found] == [2, 3]


def test_a_small_file_cannot_grow_large():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    with pytest.raises(YamlProblem, match="more than 5,000 values"):
        read_yaml(bomb)


def test_merged_keys_are_overridden_by_the_mapping_s_own():
    assert read_one("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n")["d"] == {"b": 3, "c": 2}


def test_every_key_has_its_line():
    (document,) = read_yaml("a: 1\nb:\n  c:\n    - 2\n    - {d: 3}\n")
    assert {place: document.lines[place] for place in [("a",), ("b", "c"), ("b", "c", 1, "d")]} == {
        ("a",): 1, ("b", "c"): 3, ("b", "c", 1, "d"): 5,
    }  # fmt: skip


def test_documents_are_read_one_by_one():
    assert [document.value for document in read_yaml("a: 1\n---\nb: 2\n")] == [{"a": 1}, {"b": 2}]
    assert read_yaml("") == []


WIDE = {
    "a list in brackets": "targets: [" + ", ".join(["1"] * 30_000) + "]\n",
    "a list of lines": "targets:\n" + "- 1\n" * 24_000,
    "keys": "".join(f"k{i}: 1\n" for i in range(10_000)),
    "keys in braces": "a: {" + ", ".join(f"k{i}: 1" for i in range(9_000)) + "}\n",
    "aliases": "a: &a 1\nb: [" + ", ".join(["*a"] * 20_000) + "]\n",
    "documents": "---\n" * 20_000,
    "documents that hold something": "---\na\n" * 12_000,
    "empty items": "-\n" * 45_000,
    "brackets": "[" * 90_000,
    "braces": "{a: " * 24_000,
    "dashes": "- " * 45_000 + "a\n",
    "a large list": "targets: [" + ", ".join(["1"] * 100_000) + "]\n",
    "a large list of lines": "targets:\n" + "- 1\n" * 100_000,
    "a large text": "a: " + "x " * 10**6,
    "comments": "#\n" * 10**6,
}


@pytest.mark.parametrize("case", WIDE)
def test_what_is_too_large_is_refused_at_its_first_5000_values(case, monkeypatch):
    looked_at = []
    scan = Scanner.fetch_more_tokens
    monkeypatch.setattr(Scanner, "fetch_more_tokens", lambda scanner: looked_at.append(1) or scan(scanner))
    with pytest.raises(YamlProblem, match=r"more than 5,000 values|levels deep|at most 100,000"):
        read_yaml(WIDE[case])
    assert len(looked_at) <= 5 * 5_000


TEXTS = st.text("abc yes#:-\n'\"") | st.text("0123456789eExob_+-.:", max_size=6) | st.sampled_from(
    ["1e3", "0o17", "09", "010", "1.5e3", "12e456789", "yes", "No", "on", "~", "null", "1:30", "1_000", "2024-01-01", "=",
     "<<",
     "0x1f", "0b1", ".5", ".inf", "-.INF", ".nan", "true", "é", "%a", "@a", "\x07", "a: b", "- a", " a ", "", "a\u2028b"]
)  # fmt: skip
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.sampled_from([1e-5, 1e17, 1e300, 0.1, 1.0, -2.5e-08])
WRITABLE = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(WRITABLE)
def test_what_is_written_is_read_as_it_was_by_every_reader(value):
    text = write_yaml({"value": value})
    assert read_one(text) == read_written(text) == yaml.safe_load(text) == {"value": value}


@given(WRITABLE)
@example("-.0")
@example("+.5e+3")
def test_what_older_versions_wrote_is_read_as_it_was(value):
    text = yaml.safe_dump({"value": value}, sort_keys=False, allow_unicode=True)
    assert read_written(text) == {"value": value}


def test_a_study_is_written_as_before():
    study = {
        "study": {"name": "a", "targets": [600000, 400000], "seed": 0, "dataset": {"path": None}, "spaces": {}, "keep": []},
        "recipe": {"lr": 0.05, "weight_decay": 1e-05, "augment": "light", "int8": False},
        "environment": {"python": "3.11.7", "system": "Linux 6.18 x86_64", "command": "run " + "x.yaml --out a " * 12},
    }  # fmt: skip
    assert write_yaml(study) == yaml.safe_dump(study, sort_keys=False, allow_unicode=True)


@given(st.text("abc yes#:-", min_size=90))
def test_unfolded_a_text_stays_on_its_line(text):
    line, *more = write_yaml({"value": text}, folded=False).splitlines()
    assert not more
    assert read_one(line) == {"value": text}


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc yes#:-\n'\""),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
)


@given(NESTED)
def test_what_another_writer_writes_is_read_as_it_was(value):
    assert read_one(yaml.safe_dump({"value": value})) == {"value": value}
