"""FBNetV3's accuracy predictor (arXiv 2006.02049, section 3.2): an encoder pretrained on MACs and weight counts.

The encoder (256-128-24) reads the architecture's encoding. It is first trained with a proxy head that predicts the free
statistics, for which no network needs training. Then an accuracy head (256-128-1) on the embedding and the recipe is fitted
with smooth L1 to measured values. An ensemble gives the uncertainty: its members are trained together as batched matrices,
each from its own initialisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_baseline.predictor.base import Inputs, Warp
from nas_baseline.spaces.base import Floats

ENCODER, HEAD = (256, 128, 24), (256, 128, 1)


@dataclass(frozen=True)
class MLPOptions:
    """Ensemble size and training lengths (steps); ``pretrained`` False skips the free labels, for ablations."""

    members: int = 5
    pretrain_steps: int = 400
    pretrain_batch: int = 256
    fit_steps: int = 250
    learning_rate: float = 3e-3
    encoder_rate: float = 3e-4
    weight_decay: float = 1e-3
    pretrained: bool = True


class MLPPredictor:
    """``pretrain`` once on a pool, ``fit`` from there on each set of measurements, ``predict`` often."""

    def __init__(self, seed: int = 0, options: MLPOptions | None = None) -> None:
        self._options = options or MLPOptions()
        self._seed = seed
        self._random = torch.Generator().manual_seed(seed)
        self._encoder: _Layers | None = None
        self._start: list[Tensor] = []

    @property
    def _pretrained(self) -> _Layers:
        if self._encoder is None:
            raise ValueError("the predictor has not been fitted to anything")
        return self._encoder

    def pretrain(self, pool: Inputs) -> None:
        """Train the encoder to predict the statistics of the pool's networks."""
        o = self._options
        self._encoder = _Layers(o.members, pool.architecture.shape[1], ENCODER, self._random)
        if o.pretrained:
            proxy = _Layers(o.members, ENCODER[-1], (pool.statistics.shape[1],), self._random)
            x, goal = _tensor(pool.architecture), _tensor(pool.statistics)
            optimizer = torch.optim.AdamW([*self._encoder.parameters(), *proxy.parameters()], lr=1e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, o.pretrain_steps)
            for _ in range(o.pretrain_steps):
                rows = torch.randint(len(x), (min(o.pretrain_batch, len(x)),), generator=self._random)
                batch = x[rows].expand(o.members, -1, -1)
                _step(
                    optimizer,
                    F.smooth_l1_loss(proxy(self._encoder(batch).relu()), goal[rows].expand(o.members, -1, -1)),
                )
                schedule.step()
        self._start = [p.detach().clone() for p in self._encoder.parameters()]

    def fit(self, inputs: Inputs, values: Floats) -> None:
        """Fit head and encoder to the values, shape [n], n >= 1, from the pretrained encoder."""
        o = self._options
        if self._encoder is None:
            self.pretrain(inputs)
        with torch.no_grad():
            for parameter, start in zip(self._pretrained.parameters(), self._start, strict=True):
                parameter.copy_(start)
        self._inputs, self._warp = inputs, Warp.of(values)
        # Drawn afresh for each set of values, so a fit does not depend on earlier ones.
        random = torch.Generator().manual_seed(1000 * self._seed + len(values))
        warped = self._warp(values)
        self._shift, scale = float(warped.mean()), float(warped.std())
        self._scale = scale if scale > 0 else 1.0
        goal = _tensor((warped - self._shift) / self._scale)[:, None].expand(o.members, -1, -1)
        self._head = _Layers(o.members, ENCODER[-1] + inputs.recipe.shape[1], HEAD, random)
        groups = [{"params": list(part.parameters())} for part in (self._pretrained, self._head)]
        optimizer = torch.optim.AdamW(groups, lr=o.learning_rate, weight_decay=o.weight_decay)
        optimizer.param_groups[0]["lr"] = o.encoder_rate if o.pretrained else o.learning_rate
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, o.fit_steps)
        for _ in range(o.fit_steps):
            _step(optimizer, F.smooth_l1_loss(self._forward(inputs), goal))
            schedule.step()

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Mean and standard deviation over the ensemble, each of shape [len(inputs)]."""
        members = self._latent(inputs)
        values = self._warp.inverse(self._shift + self._scale * members.mean(0))
        return values, self._scale * members.std(0) * self._warp.slope(values)

    def bound(self, inputs: Inputs, confidence: float) -> Floats:
        """The upper confidence bound on the fitted scale (only its order means something), shape [n]."""
        members = self._latent(inputs)
        bound: Floats = members.mean(0) + confidence * members.std(0)
        return bound

    def believed(self, values: Floats, own_share: float) -> Floats:
        """Predictions of the fitted networks moved ``own_share`` of the way to their measured values."""
        mean = self._latent(self._inputs).mean(0)
        latent = mean + own_share * ((self._warp(values) - self._shift) / self._scale - mean)
        return self._warp.inverse(self._shift + self._scale * latent)

    def choose(self, inputs: Inputs, count: int, confidence: float) -> list[int]:
        """Rows by upper confidence bound, each with the spread about the mean of another member in turn."""
        members = self._latent(inputs)
        mean, chosen = members.mean(0), list[int]()
        for i in range(min(count, len(inputs))):
            bound = mean + confidence * (members.std(0) if i == 0 else members[i % len(members)] - mean)
            bound[chosen] = -np.inf
            chosen.append(int(np.argmax(bound)))
        return chosen

    def _latent(self, inputs: Inputs) -> Floats:
        """Standardised predictions, shape [members, n]."""
        with torch.no_grad():
            found: Floats = self._forward(inputs)[..., 0].double().numpy()
        return found

    def _forward(self, inputs: Inputs) -> Tensor:
        """Predictions, shape [members, n, 1]."""
        members = self._options.members
        embedding = self._pretrained(_tensor(inputs.architecture).expand(members, -1, -1)).relu()
        recipe = _tensor(inputs.recipe).expand(members, -1, -1)
        found: Tensor = self._head(torch.cat([embedding, recipe], dim=2))
        return found


class _Layers(nn.Module):
    """Fully connected layers with ReLU between them, one set per ensemble member: [members, n, in] to [.., out]."""

    def __init__(self, members: int, width: int, widths: tuple[int, ...], random: torch.Generator) -> None:
        super().__init__()
        sizes = [width, *widths]
        self.weights = nn.ParameterList(
            torch.randn(members, a, b, generator=random) * float(np.sqrt(2 / max(a, 1))) for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's values."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x.relu() if i else x, weight)
        return x


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
