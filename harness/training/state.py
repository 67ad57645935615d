"""What a training changes as it goes: network, moving average, optimiser; and its schedule. All of them are timm's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from harness.config.recipe import Recipe
from harness.training.resume import TrainingState, load_state, save_state
from harness.training.within import Part
from harness.training.workers import Crew, average_statistics
from pruning.masks import from_tensors, to_tensors

FUSED = ("sgd", "adamw")
"""Optimizers of which torch has one kernel for all weights, on CPUs and CUDA; not used with scaled losses."""


@dataclass(frozen=True)
class State:
    """The state from which a training resumes after a kill; changing masks are stored with it."""

    model: nn.Module
    ema: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    @staticmethod
    def of(model: nn.Module, recipe: Recipe, device: torch.device) -> State:
        """The state with which a training by the recipe begins."""
        is_fused = recipe.optimizer in FUSED and half_type(device) != torch.float16
        make = partial(create_optimizer_v2, fused=True) if is_fused else create_optimizer_v2
        optimizer = make(
            model, opt=_timm_name(recipe), lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
        )
        if is_fused and isinstance(optimizer, torch.optim.SGD):
            optimizer.register_step_pre_hook(_begin_momenta)
        ema = ModelEmaV3(model, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        scaler = torch.amp.GradScaler("cuda", enabled=half_type(device) == torch.float16)
        return State(model, ema, optimizer, scaler)

    @property
    def kept(self) -> nn.Module:
        """The network to keep: the moving average if there is one."""
        return self.model if self.ema is None else self.ema.module

    def average_statistics(self, crew: Crew) -> None:
        """Average the running statistics over the workers, if each normalises by its own images."""
        average_statistics(self.model, crew)
        if self.ema is not None:
            average_statistics(self.ema.module, crew)

    def save(
        self,
        path: Path,
        epoch: int,
        curve: list[float],
        masks: dict[str, Tensor],
        identity: str = "",
        part: Part | None = None,
    ) -> None:
        """Write it to ``path``, after ``epoch`` epochs with these val_top1, and the ``part`` of the next if it is given."""
        state: TrainingState = {
            "epoch": epoch,
            "curve": curve,
            "model": self.model.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "masks": to_tensors(masks),
        }
        if part is not None:
            state["part"] = part.as_tensors()
        save_state(state, path, identity)

    def restore(
        self,
        path: Path,
        device: torch.device,
        masks: dict[str, Tensor],
        identity: str = "",
        dropped: Callable[[str], None] = lambda why: None,
    ) -> tuple[int, list[float], dict[str, Tensor], Part | None]:
        """Resume from ``path`` if it can be trusted; returns the epochs done, their val_top1, the masks, and a part more."""
        state = load_state(path, identity, device, dropped)
        if state is None:
            return 0, [], dict(masks), None
        self.model.load_state_dict(state["model"])
        if self.ema is not None and (averaged := state["ema"]) is not None:
            self.ema.module.load_state_dict(averaged)
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):  # empty if losses are not scaled
            self.scaler.load_state_dict(state["scaler"])
        changed = from_tensors(state.get("masks") or {}) or dict(masks)
        return int(state["epoch"]), list(state.get("curve", [])), changed, Part.read(state.get("part"))


def schedule_of(optimizer: torch.optim.Optimizer, recipe: Recipe, updates_per_epoch: int) -> Scheduler:
    """The learning rate of each update."""
    made: tuple[Scheduler, int] = create_scheduler_v2(
        optimizer,
        sched={"cosine": "cosine", "linear": "poly"}[recipe.schedule],
        decay_rate=1.0,  # the power of timm's polynomial
        num_epochs=max(1, recipe.epochs),
        warmup_epochs=min(recipe.warmup_epochs, recipe.epochs / 2),  # type: ignore[arg-type]  # timm takes fractions
        warmup_lr=recipe.lr / 20,
        min_lr=recipe.min_lr,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return made[0]


def half_type(device: torch.device) -> torch.dtype | None:
    """Autocast's type: none on the CPU, bfloat16 if the GPU has it in hardware, else float16 with scaled losses."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _timm_name(recipe: Recipe) -> str:
    """Timm's name of the optimiser; its ``sgd`` uses Nesterov momentum, so plain SGD (momentum 0) is ``momentum``."""
    return "momentum" if recipe.optimizer == "sgd" and recipe.momentum == 0 else recipe.optimizer


def _begin_momenta(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
    """Give weights that have a gradient for the first time a momentum of zero, from which they begin as without it.

    torch's fused SGD fails if only some have one, as when a block that was skipped so far is used.
    """
    for group in optimizer.param_groups:
        for weight in group["params"] if group["momentum"] else ():
            if weight.grad is not None and optimizer.state[weight].get("momentum_buffer") is None:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
