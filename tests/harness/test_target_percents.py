"""Targets as shares of the parent's MACs: read, worked out by hand, stored with the study, refused if impossible."""

from __future__ import annotations

import copy

import pytest

from harness.config.study import parse_config
from harness.errors import InputError
from harness.latency.target import resolve_targets
from harness.models import target_percents

PARENT_MACS = 1_000_001
BASE = {
    "name": "shares",
    "dataset": {"name": "fashion_mnist_mini"},
    "parent": {"family": "fbnetv3_mini", "variant": "l"},
    "routes": {"prune": {}},
}


@pytest.fixture
def parent(monkeypatch):
    monkeypatch.setattr(target_percents, "built_parent", lambda parent, info: ({}, None, PARENT_MACS))


def config(*targets, **changes):
    return parse_config(copy.deepcopy(BASE) | {"targets": list(targets)} | changes, "test")


def refusal(*targets, **changes):
    with pytest.raises(InputError) as refused:
        resolve_targets(config(*targets, **changes), None)
    return str(refused.value)


def test_shares_are_rounded_down(parent):
    """Of 1,000,001: 50% is 500,000.5; 29% is 290,000.29 (290,000.28999… in floats); 12.5% is 125,000.125."""
    assert resolve_targets(config("29%", "12.5 %", "50%"), None).targets == [500_000, 290_000, 125_000]


def test_beside_macs(parent):
    assert resolve_targets(config("30%", "0.4M", 700_000), None).targets == [700_000, 400_000, 300_000]


def test_of_a_real_parent():
    """ResNet-18 on 28x28 grey images of ten classes: 33,005,824 + 5,120 MACs by hand, of which 30% is 9,903,283.2."""
    stem, first = 14 * 14 * 64 * 1 * 49, 4 * (7 * 7 * 64 * 64 * 9)
    widths = [(64, 128, 4), (128, 256, 2), (256, 512, 1)]
    rest = sum(side**2 * (a * b * 9 + 3 * b * b * 9 + a * b) for a, b, side in widths)
    whole = stem + first + rest + 512 * 10
    given = config("30%", parent={"timm": "resnet18"})
    assert resolve_targets(given, None).targets == [whole * 30 // 100]


def test_a_stored_study_has_the_macs(parent):
    resolved = resolve_targets(config("50%", "30%"), None)
    stored = resolved.model_dump(mode="json")
    assert stored["targets"] == [500_000, 300_000]
    assert "target_percents" not in stored
    assert parse_config(stored, "stored") == parse_config(stored, "stored")
    assert resolve_targets(parse_config(stored, "stored"), None).targets == resolved.targets


@pytest.mark.parametrize("share", ["0%", "0.0%", "100%", "120%"])
def test_shares_that_cannot_be(share):
    text = refusal(share, "30%")
    assert f"'{share}' of the parent's MACs; write a share above 0% and below 100%" in text
    assert "targets.0" in text


@pytest.mark.parametrize("word", ["-5%", "half%", "%", "5%%"])
def test_what_is_no_share(word):
    assert "is not a number of MACs" in refusal(word)


def test_duplicates():
    assert "50% given twice" in refusal("50%", "50.0%")


def test_duplicates_after_the_shares_are_known(parent):
    assert "50% comes to 0.5M MACs, which another target has too" in refusal("50%", "0.5M")
    assert "50.00001% comes to 0.5M MACs, which another target has too" in refusal("50.00001%", "50%")


def test_not_beside_a_latency():
    text = refusal("50%", target={"latency_ms": 2.0}, routes={"prune": {"criterion": "channels_magnitude"}})
    assert "targets and target are both given" in text


def test_its_place_is_no_key_of_a_config(parent):
    with pytest.raises(InputError, match="unknown key 'targts'") as refused:
        parse_config(copy.deepcopy(BASE) | {"targts": ["50%"]}, "test")
    assert "target_percents" not in str(refused.value)
    with pytest.raises(InputError, match="unknown key 'target_percents'; write shares as targets"):
        config("0.5M", target_percents=[50.0])
