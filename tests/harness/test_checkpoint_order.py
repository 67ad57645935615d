"""Weights under entirely different names are read in their order, unless something speaks against it."""

import logging

import pytest
import torch
from small_nets import net, state

from harness.errors import InputError
from harness.models.build import fit_checkpoint


class TestInOrder:
    """All names differ: the order decides, unless something speaks against it."""

    def renamed(self, model, rename=lambda i, name: f"body.{i}.{name.rpartition('.')[2]}"):
        own = {k: v for k, v in state(model).items() if not k.endswith("num_batches_tracked")}
        return {rename(i, name): value for i, (name, value) in enumerate(own.items())}

    def test_is_trusted_and_said(self, tmp_path, caplog):
        source, model = net(0), net(1)
        with caplog.at_level(logging.WARNING):
            assert fit_checkpoint(model, self.renamed(source), tmp_path) == []
        assert "in order" in caplog.text
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), source.parameters(), strict=True))

    def test_layers_of_one_shape_in_another_order_are_refused(self, tmp_path):
        given = list(self.renamed(net()).items())
        same = [i for i, (_, v) in enumerate(given) if v.shape == given[0][1].shape or v.dim() == 4]
        first = next(i for i in same if any(j > i and given[j][1].shape == given[i][1].shape for j in same))
        second = next(j for j in same if j > first and given[j][1].shape == given[first][1].shape)
        given[first], given[second] = given[second], given[first]
        with pytest.raises(InputError, match="comes late"):
            fit_checkpoint(net(1), dict(given), tmp_path)

    def test_a_mean_is_not_read_as_a_variance(self, tmp_path):
        swap = {"running_mean": "running_var", "running_var": "running_mean"}

        def rename(i, name):
            leaf = name.rpartition(".")[2]
            return f"body.{i}.{swap.get(leaf, leaf)}"

        with pytest.raises(InputError, match="would become"):
            fit_checkpoint(net(1), self.renamed(net(), rename), tmp_path)

    def test_another_network_that_shares_names_is_not_read_in_order(self, tmp_path):
        given = {k.replace("layer2", "stage2"): v for k, v in state(net()).items()}
        with pytest.raises(InputError, match="does not fit"):
            fit_checkpoint(net(1), given, tmp_path)
