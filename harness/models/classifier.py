"""The classifier of a network, and the values that it starts from where it has not been trained."""

from __future__ import annotations

from collections.abc import Collection

import timm
import torch
from torch import nn

from accounting.ledger.specs import NetworkSpec
from nas_baseline.supernet.supernet import Supernet

_USUAL = ("classifier", "fc", "head.fc")
"""Names of classifiers in networks that do not name theirs."""


def classifier_tensors(model: nn.Module) -> set[str]:
    """The names of the tensors of the network's classifier, by timm's configuration of the network."""
    prefix, network = ("network.", model.network) if isinstance(model, Supernet) else ("", model)
    known: str | Collection[str] = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or _USUAL
    classifiers = (known,) if isinstance(known, str) else tuple(known)
    return {f"{prefix}{name}" for name in network.state_dict() if name.rpartition(".")[0] in classifiers}


def is_for_others(spec: NetworkSpec) -> bool:
    """Whether the published weights that the spec asks for have another number of outputs than the spec."""
    kwargs = spec.get("kwargs", {})
    if (name := _published(spec)) is None:
        return False
    known = timm.get_pretrained_cfg(name)
    return known is None or known.num_classes != kwargs.get("num_classes", spec.get("num_classes"))


def untrained_classifier(model: nn.Module, spec: NetworkSpec) -> tuple[list[str], float]:
    """The names of the classifier's tensors if :func:`harness.models.build.build_network` has drawn them, and their scale.

    The scale is 0 above layers with published weights, and 1 in a network of fresh weights.
    """
    names = sorted(classifier_tensors(model))
    if _published(spec) is None:
        return names, 1.0
    return (names, 0.0) if is_for_others(spec) else ([], 1.0)


def _published(spec: NetworkSpec) -> str | None:
    """The name by which timm knows the weights that the spec asks for."""
    return spec.get("pretrained") or (spec["name"] if spec.get("kwargs", {}).get("pretrained") else None)


def scale_initial(model: nn.Module, names: Collection[str], factor: float) -> None:
    """Multiply the parameters of these names by ``factor``, as ``--head-init-scale`` of timm's training script does.

    A classifier of zeros gives each class the same probability at first. For ten classes, timm draws the classifiers of
    the EfficientNet family with a standard deviation of 0.18; the errors of such a classifier would change what trained
    layers before it have learned (Kumar et al. 2022, arXiv 2202.10054). Transfer from zeros is that of Kolesnikov et al.
    2020 (arXiv 1912.11370).
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.mul_(factor)
