"""Which GPU models a study runs on: one, or those whose hours it declares to be equivalent; no others are added up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from accounting.ledger.records import DeviceRecord
from harness.errors import InputError

KEY = "resources.device_kind"


def models_in(capacity: Iterable[DeviceRecord]) -> list[str]:
    """The models of the GPUs among these devices, sorted by name."""
    return sorted({str(entry.get("name", "")) for entry in capacity if entry["device_kind"] == "cuda"})


def models_text(models: Sequence[str]) -> str:
    """Model names in quotes, as in a config."""
    return " and ".join(f"{name!r}" for name in models)


def check_pinned(device: str, wanted: Collection[str]) -> None:
    """``InputError`` if a study pins models of GPU, and its jobs would run on processors, since there is no GPU."""
    if device == "cpu" and wanted:
        raise InputError(
            f"{KEY}: {models_text(sorted(wanted))} given, and there is no GPU here; remove it to use CPU cores"
        )


def of_models(wanted: Collection[str], capacity: Sequence[DeviceRecord]) -> list[DeviceRecord]:
    """The devices that a study may hold: those on nodes whose GPUs are all of ``wanted`` models, or of the only one there.

    Devices other than GPUs are returned unchanged. Jobs are placed on nodes, not on devices, so a node that has GPUs of
    other models, too, is not used.

    Raises:
        InputError: there are several models and none is wanted, or no node has only wanted ones.

    """
    models = models_in(capacity)
    if not models:
        return list(capacity)
    if not wanted:
        if len(models) > 1:
            raise InputError(
                f"resources: there are GPUs of {len(models)} models here, {models_text(models)}, and hours of two are never "
                f"added up; write {KEY}: {models[0]!r}, or the name of another, to use that one alone"
            )
        return list(capacity)
    nodes = dict.fromkeys(str(entry.get("node", "")) for entry in capacity)
    found: list[DeviceRecord] = []
    for node in nodes:
        own = [entry for entry in capacity if str(entry.get("node", "")) == node]
        if own_models := models_in(own):
            is_wanted = set(own_models) <= set(wanted)
            found += own if is_wanted else []
    if found:
        return found
    given = models_text(sorted(wanted))
    if not set(wanted).isdisjoint(models):
        raise InputError(
            f"{KEY}: {given} given; each node that has such GPUs has others too ({models_text(models)}); set "
            "CUDA_VISIBLE_DEVICES to those that are wanted"
        )
    raise InputError(f"{KEY}: {given} given; the GPUs here are {models_text(models)}")
