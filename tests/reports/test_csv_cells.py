"""In a report's CSV files, text from a config is shown and not computed by a spreadsheet; numbers stay numbers."""

import csv

import pandas as pd
import pyarrow.parquet as pq
import pytest

from reports.export.csv_cells import plain_cells, write_csv
from reports.export.tables import write_tables

FORMULAS = ["=1+2", "+1+2", "-1+2", "@SUM(A1)", "\t=1", "\n=1", '=cmd|"/C calc"!A0', "＝1+2", "＠A1"]


def written(folder, **columns):
    write_tables({"t": pd.DataFrame(columns)}, folder)
    with (folder / "t.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_word_that_a_spreadsheet_would_compute_begins_with_an_apostrophe(text, tmp_path):
    assert written(tmp_path, layer=[text, "conv"]) == [["layer"], ["'" + text], ["conv"]]
    assert pq.read_table(tmp_path / "t.parquet").column("layer").to_pylist() == [text, "conv"]


def test_a_carriage_return_ends_no_row(tmp_path):
    assert written(tmp_path, layer=["\r=1", "a\rb"])[1:] == [["\\r=1"], ["a\\rb"]]


def test_a_header_is_a_cell_too(tmp_path):
    assert written(tmp_path, **{"=1+2": [1]}) == [["'=1+2"], ["1"]]


def test_numbers_stay_numbers(tmp_path):
    counts = pd.array([-5, None], dtype="Int64")
    rows = written(tmp_path, a=[-1.5, 2.0], b=[-3, 4], c=counts, d=["-6", "x"], e=[None, "-7.5e-3"])
    assert rows[1:] == [["-1.5", "-3", "-5", "-6", ""], ["2.0", "4", "", "x", "-7.5e-3"]]


@pytest.mark.parametrize("text", ["a=b", "prune", "", " =1", "'=1", "-", "+"])
def test_other_words_stay_as_they_are(text, tmp_path):
    assert written(tmp_path, layer=["x", text])[2] == [text]


def test_a_table_is_written_as_pandas_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr("reports.export.csv_cells.ROWS_AT_A_TIME", 2)
    table = pd.DataFrame(
        {
            "word": ["a,b", 'say "x"', None, "two\nlines", ""],
            "share": [0.1, float("nan"), 1e-05, 1e22, float("inf")],
            "seconds": [1760000000.25, 100.0, float("nan"), -0.0, 1e-4],
            "whole": [1, 2, 3, -4, 10**17],
            "count": pd.array([1, None, 3, 4, 5], dtype="Int64"),
            "maybe": pd.array([True, None, False, True, True], dtype="boolean"),
            "kept": [True, False, True, True, False],
            "mixed": [1, "=1+2", 2.5, None, True],
            "nothing": [None] * 5,
        }
    )
    write_csv(table, tmp_path / "t.csv")
    plain_cells(table).to_csv(tmp_path / "pandas.csv", index=False, lineterminator="\n")
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()


@pytest.mark.parametrize("low", [0.0, 1e-9, 1e-4, 1.0, 1e9, 1e14])
def test_floats_are_written_as_python_writes_them(low, tmp_path):
    floats = [sign * low * factor for sign in (1, -1) for factor in (0.1, 1 / 3, 0.9999999999999999, 1.0, 7.0, 123.456)]
    table = pd.DataFrame({"x": floats, "word": "x"})
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == [f"{number!r},x" for number in floats]


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": [None, "x"]}, {"a": ["", "x"]}])
def test_a_table_of_little_is_written_as_pandas_writes_it(columns, tmp_path):
    table = pd.DataFrame(columns)
    write_csv(table, tmp_path / "t.csv")
    plain_cells(table).to_csv(tmp_path / "pandas.csv", index=False, lineterminator="\n")
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "pandas.csv").read_bytes()


def test_a_categorical_column_is_of_words(tmp_path):
    assert written(tmp_path, kind=pd.Categorical(["=1", "b"]))[1:] == [["'=1"], ["b"]]
