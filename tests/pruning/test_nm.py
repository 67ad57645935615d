import pytest
import torch
from torch import nn

from pruning.layers import by_name
from pruning.masks import apply_masks
from pruning.nm import follows_pattern, nm_masks


def test_two_of_four_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 1, bias=False))
    model[1].weight.data = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.0, 0.0, 5.0, 0.0]])
    result = nm_masks(model, (8, 1, 1))
    assert result.masks["1.weight"].tolist() == [[False, True, True, False, False, False, True, False]]
    assert result.macs == result.target_macs == 3 and result.dense_macs == 8 and result.scope == "2:4"


def test_ties_go_by_index():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    nn.init.ones_(model[1].weight)
    assert nm_masks(model, (4, 1, 1), n=1).masks["1.weight"].tolist() == [[True, False, False, False]]


def test_convolutions_are_grouped_along_their_input_channels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 8, 1))
    result = nm_masks(model, (3, 9, 9), keep=by_name("3"))
    rows = {row.name: row.num_kept / row.num_weights for row in result.layers}
    assert rows == {"0": 1.0, "1": 0.5, "2": 1.0, "3": 1.0}  # 3 and 1 channels are not multiples of 4
    apply_masks(model, result.masks)
    assert follows_pattern(model[1].weight)
    assert not follows_pattern(model[3].weight) and not follows_pattern(model[0].weight)


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 4), (5, 4)])
def test_no_pattern(n, m):
    with pytest.raises(ValueError, match="allowed: 1 <= n < m"):
        nm_masks(nn.Linear(4, 4), (4, 1, 1), n=n, m=m)
