"""Measure test_top1 of one delivered network again: python reproduce_test_top1.py MODEL_DIR fashion_mnist_mini.npz"""
import json, sys, numpy, torch, timm, timm.models._efficientnet_builder as b  # fmt: skip
from functools import partial; from safetensors.torch import load_file  # fmt: skip
info = json.load(open(f"{sys.argv[1]}/architecture.json")); spec, data, right = info["network"], numpy.load(sys.argv[2]), 0
fit = partial(b.round_channels, round_limit=0.95); se = partial(b.SqueezeExcite, gate_layer="hard_sigmoid", rd_round_fn=fit)
model = timm.models.MobileNetV3(b.decode_arch_def(spec["arch_def"]), act_layer=timm.layers.get_act_layer("hard_swish"), se_layer=se, se_from_exp=False, round_chs_fn=fit, **{k: spec[k] for k in ("stem_size", "num_features", "head_bias", "in_chans", "num_classes")}).to(memory_format=torch.channels_last).eval()
model.load_state_dict(load_file(f"{sys.argv[1]}/model.safetensors")); torch.set_num_threads(1)
x = ((torch.from_numpy(data["test_images"]).unsqueeze(1).float() / 255 - info["mean"][0]) / info["std"][0]).split(info["eval_batch_size"])
with torch.inference_mode(): right = sum(int((model(i.contiguous(memory_format=torch.channels_last)).argmax(1) == y).sum()) for i, y in zip(x, torch.from_numpy(data["test_labels"]).split(info["eval_batch_size"])))
print(right / len(data["test_labels"]), json.load(open(f"{sys.argv[1]}/metrics.json"))["test_top1"])
