"""Prune any timm network to half of its MACs, exactly: masks from below, within one weight of the target."""

import timm

from accounting.macs.count import count_macs
from pruning import apply_masks, prune_to_macs

model = timm.create_model("resnet18", num_classes=10).eval()
shape = (3, 64, 64)
dense = count_macs(model, shape).macs

result = prune_to_macs(model, shape, dense // 2, scope="global")
apply_masks(model, result.masks)

kept = count_macs(model, shape).sparse_macs
print(f"{dense:,} MACs dense, {kept:,} after pruning")
assert dense // 2 - 10_000 < kept <= dense // 2
