import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pruning.masks import apply_masks
from pruning.solve import prune_to_macs
from pruning.sparse_file import load_sparse, save_sparse


def test_a_pruned_network_comes_back_bit_for_bit_and_is_smaller(tmp_path):
    model = timm.create_model("mobilenetv3_small_050")
    apply_masks(model, prune_to_macs(model, (3, 32, 32), 100_000).masks)
    save_sparse(model.state_dict(), tmp_path / "sparse.safetensors", {"macs": "100000"})
    save_file(model.state_dict(), tmp_path / "dense.safetensors")
    back = load_sparse(tmp_path / "sparse.safetensors")
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[k], v) and back[k].dtype == v.dtype for k, v in model.state_dict().items())
    sizes = {name: (tmp_path / f"{name}.safetensors").stat().st_size for name in ("sparse", "dense")}
    num_nonzero = sum(int((v != 0).sum()) for v in back.values())
    assert sizes["sparse"] < sizes["dense"] and sizes["sparse"] < 4 * num_nonzero + sizes["dense"] / 16


@given(
    values=st.lists(st.sampled_from([0.0, 1.5, -2.0, 1e-30]), max_size=40),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8]),
)
def test_any_tensor_comes_back(tmp_path_factory, values, dtype):
    path = tmp_path_factory.mktemp("sparse") / "file.safetensors"
    state = {"a": torch.tensor(values).to(dtype), "b": torch.tensor(3.0), "c": torch.zeros(2, 0, 3)}
    save_sparse(state, path)
    back = load_sparse(path)
    assert all(
        torch.equal(back[k], v) and back[k].dtype == v.dtype and back[k].shape == v.shape for k, v in state.items()
    )


def test_shared_tensors_and_bad_input(tmp_path):
    shared = torch.ones(3)
    save_sparse({"a": shared, "b": shared}, tmp_path / "file")
    assert load_sparse(tmp_path / "file")["b"].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="is taken"):
        save_sparse({"a.nonzero": shared}, tmp_path / "file")
    save_file({"a": shared}, tmp_path / "dense")
    with pytest.raises(ValueError, match="is not a sparse file"):
        load_sparse(tmp_path / "dense")
