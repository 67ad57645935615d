"""Studies beside each other: what of them can be compared, and why not."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest
import yaml
from fake_study import build_study

from accounting.ledger.store import LedgerWriter
from reports.errors import NotReplaceable
from reports.page.compared import Item
from reports.side_by_side.as_json import as_json
from reports.side_by_side.build import side_by_side
from reports.side_by_side.page import page_html, write_page
from reports.side_by_side.text import WHY, as_text, subject_text, why_text
from reports.side_by_side.values import Agreement, Aspect, Finding, OwnKey, Reason, Subject


def changed(folder, *, facts=None, **changes):
    path = folder / "study.yaml"
    document = yaml.safe_load(path.read_text())
    document["study"] |= changes
    document |= facts or {}
    path.write_text(yaml.safe_dump(document))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One study; the same again with a cheaper parent; one on a GPU, with other data and one target."""
    place = tmp_path_factory.mktemp("several")
    data = {"data": {"fingerprint": "a" * 64, "num_classes": 10, "num_train": 100}}
    first = changed(build_study(place / "first"), name="first", facts=data)
    cheap = changed(build_study(place / "cheap", pretrain_h=0.2), name="cheap", facts=data, seed=1)
    other = changed(
        build_study(place / "other", cuda=True, targets=(800_000,)),
        name="<b>other</b>",
        parent={"family": "fbnetv3_mini", "variant": "s"},
        facts={"data": {"fingerprint": "b" * 64, "num_classes": 10, "num_train": 100}},
    )
    return first, cheap, other


@pytest.fixture(scope="module")
def alike(folders):
    return side_by_side(folders[:2])


@pytest.fixture(scope="module")
def unlike(folders):
    return side_by_side(folders)


def can(found):
    return {subject_text(finding): finding.can for finding in found.findings}


def why(found):
    return {subject_text(finding): why_text(finding) for finding in found.findings}


def test_studies_that_agree_can_be_compared_in_everything(alike):
    assert can(alike) == {"hours": True, "accuracies": True, "cost ratios": True, "verdicts": True, "targets": True}
    whys = why(alike)
    assert whys["hours"] == "all are CPU core-hours of Test device"
    assert "repeat each other" in whys["cost ratios"]
    assert whys["targets"] == "all have 0.5M, 0.8M MACs"


def test_one_seed_is_no_repeat(folders, tmp_path):
    """The same config and seed train the same networks: no interval may take them for independent ones."""
    again = build_study(tmp_path / "again", pretrain_h=0.2)
    data = {"data": {"fingerprint": "a" * 64, "num_classes": 10, "num_train": 100}}
    found = side_by_side([folders[0], changed(again, name="again", facts=data)])
    assert can(found)["cost ratios"] is False
    assert "which trains the same networks again, but for code and machine" in why(found)["cost ratios"]
    assert found.ratios == ()
    other = side_by_side([folders[0], changed(again, seed=7)])
    assert can(other)["cost ratios"] is True
    assert len(other.ratios) == 1


def test_how_their_ratios_differ(alike):
    """Only the parent's cost differs: 3.42 + 0.153 h against 0.2 + 0.153 h at 0.5M MACs, and likewise at 0.8M."""
    (apart,) = alike.ratios
    own = 0.1 + 2 / 3 * 0.08
    assert apart.factor.value == pytest.approx((3.42 + own) / (0.2 + own), rel=1e-3)
    assert apart.factor.low < apart.factor.value < apart.factor.high
    first, cheap = (study.ratio for study in alike.studies)
    assert apart.factor.value == pytest.approx(cheap.value / first.value)
    error = math.sqrt(first.sd**2 / 3 + cheap.sd**2 / 3)
    half = math.log(apart.factor.high / apart.factor.value)
    assert half / error == pytest.approx(2.776, rel=0.01)  # t of about four degrees of freedom
    assert apart.differs_in == ()


def test_studies_that_differ_say_in_what(unlike):
    assert can(unlike) == {"hours": False, "accuracies": False, "cost ratios": True, "verdicts": True, "targets": True}
    whys = why(unlike)
    assert whys["hours"] == "they are in CPU core-hours and GPU-hours, and no rate converts them"
    assert "of other images" in whys["accuracies"]
    assert "differ in data, parent, targets, epochs, unit" in whys["cost ratios"]
    assert "no single one of these is shown to be a cause" in whys["cost ratios"]
    by_key = {aspect.key: aspect for aspect in unlike.aspects}
    assert by_key["parent"].agreement is Agreement.DIFFERENT
    assert by_key["classes"].agreement is Agreement.SAME
    assert by_key["unit"].values == ("CPU core-hours", "CPU core-hours", "GPU-hours")


def test_a_finding_carries_what_it_rests_on(unlike):
    by_subject = {finding.subject: finding for finding in unlike.findings}
    assert set(by_subject) == set(Subject)
    assert by_subject[Subject.HOURS].reason is Reason.OTHER_UNITS
    assert [aspect.key for aspect in by_subject[Subject.HOURS].aspects] == ["unit"]
    assert by_subject[Subject.COST_RATIOS].reason is Reason.EACH_WITHIN_ONE
    assert [aspect.key for aspect in by_subject[Subject.COST_RATIOS].aspects][:3] == ["data", "parent", "targets"]
    assert by_subject[Subject.TARGETS].targets == (800_000,)


def aspect(key, *values):
    return Aspect(key, values, Agreement.DIFFERENT)


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (
            Finding(Subject.HOURS, False, Reason.OTHER_DEVICES, (aspect(OwnKey.DEVICES, "A {1}", "B"),)),
            "an hour of one device is not an hour of another: A {1} against B",
        ),
        (
            Finding(Subject.HOURS, False, Reason.OTHER_COST_RULES, (aspect(OwnKey.COST_RULES, "1", "2", "2"),)),
            "they are counted by cost rules 1 and 2 and 2, of which version 1 has exports in them",
        ),
        (
            Finding(Subject.COST_RATIOS, False, Reason.OTHER_PAIRS, (aspect(OwnKey.PAIR, "a and b", "a and c"),)),
            "they are of other pairs: a and b against a and c",
        ),
        (Finding(Subject.COST_RATIOS, False, Reason.NO_RATIO, studies=("x", "y")), "there is none of x, y"),
        (
            Finding(Subject.COST_RATIOS, True, Reason.EACH_WITHIN_ONE, (aspect(Item.EPOCHS, "1", "2"),)),
            "each is within one study, on its own devices; the studies differ in epochs: it may be the cause of a "
            "difference",
        ),
        (
            Finding(Subject.TARGETS, False, Reason.NO_COMMON_TARGET),
            "no target is in all of them; as shares of the parent's MACs they are shown side by side",
        ),
    ],
    ids=lambda value: value.reason if isinstance(value, Finding) else "",
)
def test_a_reason_in_words(finding, said):
    assert why_text(finding) == said


def test_every_reason_has_its_words():
    assert set(WHY) == set(Reason)


def test_data_without_a_fingerprint_is_not_known(folders, tmp_path):
    older = build_study(tmp_path / "older")
    found = side_by_side([folders[0], older])
    assert can(found)["accuracies"] is None
    assert can(side_by_side([folders[0], changed(older, dataset={"name": "cifar10"})]))["accuracies"] is False


def test_parents_from_two_checkpoints_are_two_whatever_their_paths_say(tmp_path):
    """A folder may be named after the accuracy; the accuracy itself is a result, and no difference of what was asked."""
    parents = [{"family": "fbnetv3_mini", "variant": "l", "checkpoint": f"top-1 of {n} %/best.pt"} for n in (80, 90)]
    one, two = (changed(build_study(tmp_path / f"of {i}"), parent=parent) for i, parent in enumerate(parents))
    parent = next(aspect for aspect in side_by_side([one, two]).aspects if aspect.key == "parent")
    assert parent.agreement is Agreement.DIFFERENT


def test_a_study_without_an_answer_stands_there_all_the_same(folders, tmp_path):
    found = side_by_side([folders[0], build_study(tmp_path / "young", until_h=0.2)])
    assert can(found)["cost ratios"] is False
    assert found.ratios == ()
    assert "no answer" in as_text(found)


def test_studies_of_one_name_are_told_apart(folders, tmp_path):
    again = changed(build_study(tmp_path / "again"), name="first")
    names = [study.name for study in side_by_side([folders[0], again]).studies]
    assert names == [f"first ({folders[0]})", f"first ({again})"]


def test_as_text(unlike):
    text = as_text(unlike)
    assert "hours cannot be compared: they are in CPU core-hours and GPU-hours" in text
    assert "cost ratios can be compared" in text
    assert "different:" in text
    said = (
        "at 0.5M MACs (50 % of the parent), CPU core-hours to 84.0 %: prune 3.57 (3.57 to 3.57, n = 3), search 1.11 ("
    )
    assert said in text
    assert "; search / prune 0.294 (97.5 % interval, corrected 0.0" in text
    assert re.search(r"the cost ratio of cheap is \S+× that of first \(95 % interval \S+ to \S+, Welch, n = 3\)", text)


def test_as_json(unlike):
    told = json.loads(json.dumps(as_json(unlike), allow_nan=False))
    assert [study["unit"] for study in told["studies"]] == ["cpu_core_hours", "cpu_core_hours", "gpu_hours"]
    assert {each["subject"]: each["comparable"] for each in told["comparable"]} == can(unlike)
    assert told["studies"][0]["targets"][0]["cost_ratio"]["n"] == 3
    assert told["ratios"][1]["differs_in"][:2] == ["data", "parent"]


def test_one_page_that_asks_for_nothing(unlike, tmp_path):
    out = tmp_path / "compare.html"
    write_page(unlike, out)
    page = out.read_text()
    assert page == page_html(unlike)
    assert "<b>other</b>" not in page.replace("<b>&lt;b&gt;other&lt;/b&gt;</b>", "")
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "default-src 'none'" in page
    assert "Hours: no" in page
    write_page(unlike, out)  # its own page is written anew
    assert [path.name for path in tmp_path.iterdir()] == ["compare.html"]


def test_no_other_file_is_written_over(unlike, tmp_path):
    other = tmp_path / "notes.html"
    other.write_text("mine")
    with pytest.raises(NotReplaceable, match="exists and is not an earlier comparison"):
        write_page(unlike, other)
    assert other.read_text() == "mine"
    with pytest.raises(NotReplaceable, match="is not a folder"):
        write_page(unlike, tmp_path / "nowhere" / "page.html")


class TestCommand:
    def test_terminal_json_and_page(self, folders, command, tmp_path):
        out = tmp_path / "page.html"
        code, text, err = command("compare", *folders, "--out", out)
        assert (code, err) == (0, "")
        assert f"page: {out}" in text
        assert out.is_file()
        assert json.loads(command("compare", *folders, "--json")[1])["schema_version"] == 1

    @pytest.mark.parametrize(
        ("place", "said"),
        [([0], "two studies or more are expected"), ([0, 0], "is given twice; name each study once")],
    )
    def test_what_cannot_be(self, place, said, folders, command):
        code, out, err = command("compare", *(folders[i] for i in place))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err

    def test_a_folder_that_is_no_study(self, folders, command, tmp_path):
        code, out, err = command("compare", folders[0], tmp_path, "--out", tmp_path / "page.html")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "is not a study" in err
        assert not (tmp_path / "page.html").exists()


def test_what_is_provisional_is_called_so(folders, tmp_path):
    found = side_by_side([folders[0], build_study(tmp_path / "half", until_h=8.5)])  # two replicates of three
    assert "(provisional: 2 of 3 replicates)" in as_text(found).rpartition("fake: ")[2]
    first, half = as_json(found)["studies"]
    assert (first["provisional"], half["provisional"]) == (False, True)
    assert (half["targets"][0]["n"], half["targets"][0]["provisional"]) == (2, True)


def test_hours_on_several_gpu_models_are_no_common_unit(folders, tmp_path, monkeypatch):
    append = LedgerWriter.append

    def with_two(self, kind, /, t=None, **fields):
        if kind == "session_opened":
            (entry,) = fields["capacity"]
            fields["capacity"] = [{**entry, "name": "A100"}, {**entry, "device": "GPU-2", "name": "H100"}]
        if kind == "attempt_started" and fields["route"] == "search":
            fields["devices"] = {"GPU-2": 1.0}
        append(self, kind, t=t, **fields)

    monkeypatch.setattr(LedgerWriter, "append", with_two)
    mixed = [build_study(tmp_path / name, cuda=True) for name in ("one", "two")]
    found = side_by_side(mixed)
    assert can(found)["hours"] is False
    assert why(found)["hours"].startswith(
        "hours on GPUs of several models, without a declared rate, are added up in fake"
    )


def test_ratios_of_other_pairs_are_not_compared_after_all(full_study, tmp_path):
    other = shutil.copytree(full_study, tmp_path / "other")
    changed(other, name="other", seed=1, verdict={"pair": ["prune:global_lamp", "search"]})
    found = side_by_side([full_study, other])
    assert can(found)["cost ratios"] is False
    assert "they are of other pairs: " in why(found)["cost ratios"]
    assert found.ratios == ()


class TestSettings:
    """Two studies of the same data, parent and targets whose recipes differ do not repeat each other."""

    @pytest.fixture
    def pair(self, folders, tmp_path):
        """The first study, and a function that gives it again with another seed and other settings."""

        def make(**changes):
            again = changed(build_study(tmp_path / "again"), name="again", seed=7, **changes)
            data = {"data": {"fingerprint": "a" * 64, "num_classes": 10, "num_train": 100}}
            return side_by_side([folders[0], changed(again, facts=data)])

        return make

    def aspect_of(self, found):
        (settings,) = (aspect for aspect in found.aspects if aspect.key is OwnKey.SETTINGS)
        return settings

    def test_the_same(self, pair):
        found = pair()
        assert self.aspect_of(found).agreement is Agreement.SAME
        assert "repeat each other" in why(found)["cost ratios"]

    def test_another_recipe(self, folders, tmp_path):
        first, second = (
            changed(
                build_study(tmp_path / str(lr)), name=f"of {lr}", seed=place, recipe={"lr": lr, "epochs": 3 + place}
            )
            for place, lr in enumerate((0.1, 0.3))
        )
        found = side_by_side([first, second])
        settings = self.aspect_of(found)
        assert (settings.agreement, settings.values) == (Agreement.DIFFERENT, ("recipe.lr: 0.1", "recipe.lr: 0.3"))
        assert "the studies differ in" in why(found)["cost ratios"] and "other settings" in why(found)["cost ratios"]
        assert found.ratios[0].differs_in[-1] is OwnKey.SETTINGS

    def test_what_an_older_version_did_not_write_is_not_known(self, pair):
        found = pair(recipe={"ema_decay": 0.0})
        settings = self.aspect_of(found)
        assert settings.agreement is Agreement.UNKNOWN
        assert settings.values == ("recipe.ema_decay: not on record", "recipe.ema_decay: 0.0")

    def test_another_budget(self, pair):
        settings = self.aspect_of(pair(budget={"search": "1 h"}))
        assert (settings.agreement, settings.values) == (
            Agreement.DIFFERENT,
            ("budget.search: none", "budget.search: 1 h"),
        )

    def test_a_route_more_changes_nothing(self, pair):
        routes = {"search": {}, "prune": {}, "scratch": {}, "supernet": {"lr": 1}}
        assert self.aspect_of(pair(routes=routes)).agreement is Agreement.SAME

    def test_many_are_counted(self, pair):
        settings = self.aspect_of(pair(recipe={f"key_{n:02}": n for n in range(20)}))
        assert settings.values[1].endswith("recipe.key_11: 11; and 8 more")
