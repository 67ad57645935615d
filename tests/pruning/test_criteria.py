import pytest
import torch
from torch import nn

from pruning.criteria import load_criterion
from pruning.criterion import ScoreContext
from pruning.gradients import mean_gradients

WEIGHT = torch.tensor([[1.0, -2.0], [3.0, 0.0]])


def scores(name, macs_per_weight=4, gradient=None, weight=WEIGHT):
    context = ScoreContext(macs_per_weight, torch.Generator().manual_seed(0), gradient)
    return load_criterion(name).scores(weight, context)


def test_magnitude():
    assert scores("magnitude").tolist() == [[1.0, 2.0], [3.0, 0.0]]


def test_macs_magnitude():
    assert scores("macs_magnitude").tolist() == [[0.5, 1.0], [1.5, 0.0]]  # over the root of 4


def test_lamp():
    # Squares 1, 4, 9, 0: 9/9, 4/(9+4), 1/(9+4+1), 0/14.
    assert scores("lamp").flatten().tolist() == pytest.approx([1 / 14, 4 / 13, 1.0, 0.0])
    assert scores("lamp", weight=torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_taylor():
    gradient = torch.tensor([[2.0, 1.0], [-0.5, 9.0]])
    assert scores("taylor", gradient=gradient).tolist() == [[2.0, 2.0], [1.5, 0.0]]
    with pytest.raises(ValueError, match="give batches"):
        scores("taylor")


def test_random_is_not_constant():
    assert len(scores("random").unique()) == 4


def test_gradients_are_of_the_mean_over_images_whatever_the_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    images, labels = torch.randn(5, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1])
    whole = mean_gradients(model.train(), [(images, labels)])
    parts = mean_gradients(model, [(images[:2], labels[:2]), (images[2:], labels[2:])])
    model.eval()
    nn.functional.cross_entropy(model(images), labels).backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(whole[name], parameter.grad, atol=1e-6)
        assert torch.allclose(whole[name], parts[name], atol=1e-6)
    assert model[2].num_batches_tracked == 0


def test_gradients_of_shared_weights_and_modules_leave_the_model_whole():
    class Sharing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.again = nn.Sequential(self.a, nn.ReLU())
            self.tied = nn.Linear(3, 3)
            self.tied.weight = self.a.weight

        def forward(self, x):
            return self.tied(self.again(self.a(x.flatten(1))))

    torch.manual_seed(0)
    model = Sharing()
    before = dict(model.named_parameters())
    images, labels = torch.randn(4, 3, 1, 1), torch.tensor([0, 1, 2, 0])
    found = mean_gradients(model, [(images, labels)])
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    assert model.tied.weight is model.a.weight is model.again[0].weight
    nn.functional.cross_entropy(model(images), labels).backward()
    assert all(torch.allclose(found[name], p.grad, atol=1e-6) for name, p in model.named_parameters())
