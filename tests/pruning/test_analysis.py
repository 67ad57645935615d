import pytest
import timm
import torch
from torch import nn

from pruning.analysis import by_role, sensitivity_scan
from pruning.layers import Role
from pruning.masks import apply_masks, masks_from_model
from pruning.result import LayerSparsity
from pruning.solve import prune_to_macs


def test_by_role_by_hand():
    rows = by_role(
        [
            LayerSparsity("a", Role.SE, 100, 40, 10, 4),
            LayerSparsity("b", Role.STEM, 50, 50, 5, 5),
            LayerSparsity("c", Role.SE, 30, 10, 30, 10),
        ]
    )
    assert [(r.role, r.num_layers, r.macs, r.kept_macs, r.num_weights, r.num_kept) for r in rows] == [
        ("stem", 1, 50, 50, 5, 5),
        ("se", 2, 130, 50, 40, 14),
    ]
    assert rows[1].sparsity == pytest.approx(26 / 40)


def test_by_role_adds_up():
    model = timm.create_model("mobilenetv3_small_050")
    result = prune_to_macs(model, (3, 32, 32), 400_000)
    rows = by_role(result.layers)
    assert sum(row.kept_macs for row in rows) == result.macs
    assert {"stem", "expand", "depthwise", "project", "se", "head", "classifier"} == {row.role for row in rows}


def test_the_scan_prunes_one_role_at_a_time():
    model = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.Flatten(), nn.Linear(16, 2, bias=False))
    model[0].weight.data = torch.tensor([1.0, 4.0, 3.0, 2.0]).view(4, 1, 1, 1)
    points = list(sensitivity_scan(model, (1, 2, 2), (0.5, 1.0)))
    assert [(p.role, p.sparsity, p.macs) for p in points] == [
        ("stem", 0.5, 8 + 32), ("stem", 1.0, 32), ("other", 0.5, 16 + 16), ("other", 1.0, 16),
    ]  # fmt: skip
    assert points[0].masks["0.weight"].flatten().tolist() == [False, True, True, False]
    assert points[0].masks["2.weight"].all()
    apply_masks(model, points[0].masks)
    assert int(masks_from_model(model)["0.weight"].sum()) == 2
    with pytest.raises(ValueError, match="allowed: 0 to 1"):
        list(sensitivity_scan(model, (1, 2, 2), (1.5,)))
