"""If a study held two GPU models, nothing is compared, and every reader is told which models and for how long."""

import json

import pytest

from accounting.ledger.store import LedgerWriter, read_ledger
from reports.answers.refusal_text import unjudged_headline, unjudged_short
from reports.answers.refusals import MixedModels
from reports.answers.whole import WholeAnswer
from reports.data.frames import load_frames
from reports.page.build import build_report
from reports.sentences.caveats import caveat_sentences

SAYS = "GPUs of 2 models were held: "


@pytest.fixture
def mixed(make_study, monkeypatch):
    """The fake study on a GPU, with its search on another GPU model."""
    append = LedgerWriter.append

    def with_two(self, kind, /, t=None, **fields):
        if kind == "session_opened":
            (entry,) = fields["capacity"]
            fields["capacity"] = [
                {**entry, "name": "NVIDIA A100-SXM4-80GB"},
                {**entry, "device": "GPU-2", "name": "NVIDIA H100 80GB HBM3"},
            ]
        if kind == "attempt_started" and fields["route"] == "search":
            fields["devices"] = {"GPU-2": 1.0}
        append(self, kind, t=t, **fields)

    monkeypatch.setattr(LedgerWriter, "append", with_two)
    return make_study(cuda=True)


def test_no_verdict_is_drawn(mixed):
    frames = load_frames(mixed)
    found = WholeAnswer(frames).as_json()
    assert found["verdict"] == "not_comparable"
    assert found["sentence"].startswith(f"Not comparable: {SAYS}NVIDIA A100-SXM4-80GB (")
    assert {each["status"] for each in found["answers"]} == {"refused"}
    assert all("hours of one are not those of another" in each["reason"] for each in found["answers"])
    assert found["further_routes"] == {}
    assert found["break_even"] is None


def test_its_headline_is_short_however_long_the_models_names(mixed):
    whole = WholeAnswer(load_frames(mixed))
    count = len(whole.frames.delivered)
    assert whole.short == (
        f"Not comparable: GPUs of 2 models were held, and hours of one are not those of another; {count} networks were "
        "delivered."
    )
    assert len(whole.short.split()) <= 25
    assert unjudged_headline(MixedModels({"A": 1.0, "B": 1.0}), 1).endswith("; 1 network was delivered.")
    assert len(unjudged_short(MixedModels({"A": 1.0}), 1).split()) <= 25


def test_every_reader_is_told(mixed):
    caveats = load_frames(mixed).caveats
    assert list(caveats.gpu_hours) == ["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"]
    assert any(SAYS in sentence for sentence in caveat_sentences(caveats))
    assert len(read_ledger(mixed / "ledger").findings) == 0


def test_the_page_says_it_where_the_verdict_would_be(mixed):
    page = build_report(mixed).read_text(encoding="utf-8")
    assert page.count(SAYS) >= 2
    assert "There is no verdict: not comparable" in page
    assert json.loads((mixed / "report" / "answer.json").read_text())["verdict"] == "not_comparable"


def test_one_model_is_compared(make_study):
    assert WholeAnswer(load_frames(make_study(cuda=True))).as_json()["verdict"] != "not_comparable"
