from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from reports.errors import NotAStudy
from reports.page import render
from reports.page.build import build_report

SECTIONS = [
    "What was compared", "Verdict", "Cost to reach each accuracy", "What the ratio depends on", "Where the cost went",
    "Accuracy against MACs", "Accuracy per device-hour", "Delivered networks", "How cost was counted", "Provenance",
]  # fmt: skip
DRAWN = {
    "anytime", "cost_by_phase", "accuracy_macs", "accuracy_per_hour", "break_even", "ratio_by_accuracy", "ratio_by_target",
    "schedule",
}  # fmt: skip
"""Figures drawn for a study with both routes, controls and two targets that was never planned."""


class Reader(HTMLParser):
    """Headings, links, figures and scripts in order, the headline, and whether every opened tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.figures, self.links, self.scripts, self.open = [], [], [], [], []
        self.headline, self.ids = "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        if found.get("role") == "img":
            self.figures.append(found["aria-label"])
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h1":
            self.headline += data.replace("\u2011", "-").replace("\u00a0", " ")
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def visible(text):
    """A page without the files embedded in its links."""
    return re.sub(r"base64,[^\"]*", "", text)


def without_code(text):
    """The part of a page that is read, so without scripts and styles, too."""
    return re.sub(r"<(script|style)>.*?</\1>", "", visible(text), flags=re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    """Draw PNGs as usual but coarser, since most of a report's time goes into their pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "PNG_DPI", 30)
        yield


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    return build_report(study, tmp_path_factory.mktemp("out") / "report").parent


def test_the_page_is_whole_and_in_order(report):
    text = (report / "index.html").read_text()
    page = Reader(text)
    assert page.open == []
    assert page.headings == SECTIONS
    assert len(page.figures) == len(DRAWN)
    assert all(len(alternative) > 40 for alternative in page.figures)
    assert page.headline.startswith("Pruning cost 3.40× the CPU core-hours of search at equal accuracy (95 % interval ")
    assert "test &lt;cpu&gt; &amp; co" in text
    assert "The ledger adds up." in text
    assert "At 0.5M MACs neither the pruned network nor the one found by search is shown to be more accurate" in text
    assert "63 of 63 jobs done, in 64 attempts" in text
    assert "10.8 s; it holds no device" in text


def test_nothing_of_the_page_is_asked_from_elsewhere(report):
    """Links lead into the page, to files embedded in it or to files next to it; only its own script may run."""
    text = (report / "index.html").read_text()
    page = Reader(text)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not link.startswith("data:"):
            assert (report / link).is_file(), link
    assert len(page.scripts) == 1
    allowed = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", visible(text))
    assert len(text.encode()) < 5_000_000


def test_names_within_the_page_are_each_used_once(full_report):
    ids = Reader((full_report / "index.html").read_text()).ids
    assert len(set(ids)) == len(ids)


def test_each_figure_comes_with_its_numbers_and_its_drawing(report):
    text = (report / "index.html").read_text()
    for name in DRAWN:
        (link,) = re.findall(rf'href="data:text/csv;base64,([^"]*)" download="{name}.csv"', text)
        numbers = pd.read_csv(io.BytesIO(base64.b64decode(link)))
        assert len(numbers) == len(pd.read_csv(report / "figures" / f"{name}.csv")) > 0
        assert not [column for column in numbers.columns if column.endswith("_h")]
        assert f'href="figures/{name}.svg"' in text


def test_the_verdict_is_a_table_of_contenders_and_targets(report):
    """By `fake_study`, search takes 0.96 h for candidates on average, and part of the retraining's 0.2 h."""
    text = (report / "index.html").read_text()
    table = re.search(r'<table class="sorts">.*?</table>', text, re.DOTALL)[0]
    rows = [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
    ]
    plain = [[re.sub("<[^>]*>", "", cell).strip() for cell in row] for row in rows]
    assert [(row[0], row[1]) for row in plain[:2]] == [("0.5M", "search"), ("0.5M", "prune")]
    pruned = plain[1]
    assert pruned[3] == "1"
    assert pruned[-1] == "what the others are compared with"
    assert float(plain[0][2].split()[0]) == pytest.approx(0.96 + 0.17, abs=0.02)
    assert plain[0][-1] == "insufficient evidence (4 replicates would probably settle it)"
    controls = {"small network trained directly", "pruned shape trained directly"}
    assert {row[1] for row in plain} == {"search", "prune", *controls}
    assert "How to read this" in text
    assert "In full sentences" in text


def test_files_of_a_report(report):
    assert {path.name for path in (report / "figures").iterdir()} == {
        f"{n}.{k}" for n in DRAWN for k in ("csv", "png", "svg")
    }
    tables = report / "tables"
    assert {path.name for path in tables.glob("*.tex")} == {"verdict.tex", "networks.tex"}
    assert (report / "report.md").read_text().startswith("# Pruning cost 3.40×")
    names = {path.stem for path in tables.iterdir() if path.suffix != ".tex"}
    assert {"networks", "verdicts", "cost_by_phase", "attempts", "jobs", "device_balances"} <= names
    for name in names:
        csv, parquet = (
            pd.read_csv(report / "tables" / f"{name}.csv"),
            pd.read_parquet(report / "tables" / f"{name}.parquet"),
        )
        assert list(csv.columns) == list(parquet.columns)
        assert len(csv) == len(parquet)
        assert not [column for column in csv.columns if column.endswith("_h") or "_h_" in column]


def test_tables_name_the_unit(report):
    networks = pd.read_csv(report / "tables" / "networks.csv")
    assert "cost_full_cpu_core_hours" in networks
    assert "test_top1_per_cpu_core_hour_full" in networks
    attempts = pd.read_csv(report / "tables" / "attempts.csv", dtype=str)
    assert set(attempts["target"].dropna()) == {"500000", "800000"}
    verdicts = pd.read_csv(report / "tables" / "verdicts.csv")
    row = verdicts[(verdicts["target"] == 500_000) & (verdicts["policy"] == "free")].iloc[0]
    assert (row["verdict"], row["cost_ratio"]) == ("prune", pytest.approx(6.8596445))
    assert row["prune_to_equal_quality_cpu_core_hours"] == pytest.approx(0.1 + 0.08 * 2 / 3)


def test_answer_json(report):
    content = json.loads((report / "answer.json").read_text())
    assert [given["target_macs"] for given in content["answers"]] == [500_000, 800_000]
    assert (content["verdict"], content["policies"]["free"]["verdict"]) == ("search", "prune")


FULL_SECTIONS = [
    *SECTIONS[:8], "Pruning methods", "Where the sparsity went", "Sensitivity to sparsity", "The search's predictor",
    "Size, int8 and latency", *SECTIONS[8:],
]  # fmt: skip
OPTIONAL_TABLES = {
    "further_routes", "pruning_methods", "sparsity_by_role", "sparsity_by_layer", "sensitivity", "predictions",
    "deployment", "deployments",
}  # fmt: skip


@pytest.fixture(scope="module")
def full_report(full_study, tmp_path_factory):
    return build_report(full_study, tmp_path_factory.mktemp("full_out") / "report").parent


def test_a_full_study_shows_all_it_has(full_report):
    report = full_report
    text = (report / "index.html").read_text()
    page = Reader(text)
    assert page.open == []
    assert page.headings == FULL_SECTIONS
    assert len(page.figures) == len(DRAWN) + 6
    assert not re.search(r"\b(nan|None|NaN)\b", without_code(text))
    assert page.headline.startswith("Pruning cost")
    assert len(page.headline.split()) <= 25
    assert "of the allocated: analysis of the parent (charged to no network)" in text
    assert "Nothing of this is measured yet" not in text
    names = {path.stem for path in (report / "tables").iterdir()}
    assert names >= OPTIONAL_TABLES
    methods = pd.read_csv(report / "tables" / "pruning_methods.csv")
    assert "cost_full_cpu_core_hours" in methods
    assert "cost_full_low_cpu_core_hours" in methods
    further = pd.read_parquet(report / "tables" / "further_routes.parquet")
    assert set(further["route"]) >= {"supernet", "search_then_prune", "prune:global_lamp", "scratch_family"}
    assert "route_total_cpu_core_hours" in further
    content = json.loads((report / "answer.json").read_text())
    assert set(content["further_routes"]) >= {"supernet", "search_then_prune", "prune:global_lamp", "scratch_family"}


def test_the_same_full_ledger_gives_the_same_bytes(full_study, full_report, tmp_path):
    one, two = full_report, build_report(full_study, tmp_path / "report").parent
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    for path in files:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path


@pytest.mark.parametrize("until_h", [3.0, 3.7, 5.0])
def test_a_full_study_on_its_way_has_a_page(make_full_study, until_h, sketched):
    page = build_report(make_full_study(until_h=until_h, replicates=2))
    text = page.read_text()
    assert not re.search(r"\b(nan|None|NaN)\b", without_code(text))
    assert Reader(text).open == []


def test_what_a_study_does_not_measure_is_left_off(report):
    controls = {"further_routes"}  # which every study with controls has
    assert OPTIONAL_TABLES & {path.stem for path in (report / "tables").iterdir()} == controls
    further = json.loads((report / "answer.json").read_text())["further_routes"]
    assert set(further) == {"scratch_family", "scratch_pruned_structure"}


def test_the_same_ledger_gives_the_same_bytes(study, report, tmp_path):
    again = build_report(study, tmp_path / "report").parent
    files = sorted(path.relative_to(report) for path in report.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for path in files:
        assert (report / path).read_bytes() == (again / path).read_bytes(), path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until_h": 0}, "No answer yet"),
        ({"until_h": 0.2}, "No network has been delivered yet"),
        ({"until_h": 3}, "This study is not complete: no answer yet at 0.5M, 0.8M MACs"),
        ({"until_h": 8.5}, "fewer replicates than the 3 planned at 0.5M"),
        ({"routes": ("search",), "targets": (500_000,)}, "the study has no prune route"),
        ({"routes": ("scratch",), "replicates": 1, "targets": (500_000,)}, "no search and no prune route"),
        ({"replicates": 1, "targets": (500_000,)}, "n = 1 replicate, so no interval"),
        ({"targets": (500_000,), "replicates": 2}, "1 target"),
    ],
)
def test_partial_studies_have_a_page_that_says_so(make_study, options, said, sketched):
    page = build_report(make_study(**options))
    text = page.read_text().replace("\u00a0", " ")
    assert said in text
    assert not re.search(r"\b(nan|None|NaN)\b", without_code(text))
    page = Reader(text)
    assert page.headings == [name for name in SECTIONS if name in page.headings]
    assert {"What was compared", "Verdict", "How cost was counted", "Provenance"} <= set(page.headings)
    assert len(page.headline.split()) <= 25


def test_a_report_is_replaced_as_a_whole(make_study):
    folder = make_study(replicates=1, targets=(500_000,))
    page = build_report(folder)
    assert page == folder / "report" / "index.html"
    (folder / "report" / "stale.txt").write_text("from before")
    build_report(folder)
    assert not (folder / "report" / "stale.txt").exists()
    assert {path.name for path in folder.iterdir()} == {"ledger", "study.yaml", "report"}


def test_foreign_folders_are_left_alone(make_study, tmp_path):
    folder, out = make_study(replicates=1), tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="not an earlier report"):
        build_report(folder, out)
    assert (out / "thesis.txt").read_text() == "precious"
    with pytest.raises(NotAStudy):
        build_report(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_failing_figure_leaves_the_old_report(make_study, monkeypatch, sketched):
    from reports.figures import anytime

    folder = make_study(replicates=1, targets=(500_000,))
    before = build_report(folder).read_bytes()

    def fail(data, figure):
        raise RuntimeError("no ink")

    monkeypatch.setattr(anytime, "draw", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        build_report(folder)
    assert (folder / "report" / "index.html").read_bytes() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_gpu_pages_never_say_cpu_hours(make_study, sketched):
    text = build_report(make_study(replicates=1, targets=(500_000,), cuda=True)).read_text()
    assert "GPU-hours" in text
    assert "CPU core" not in text
