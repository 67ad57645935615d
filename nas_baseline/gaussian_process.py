"""Gaussian process over network encodings: mean and uncertainty of a network's value from few measured ones.

Kernel: RBF on the squared distance of encodings (Hamming distance where they are one-hot) + linear on encodings +
linear on statistics (MACs, weights) + noise. Amplitudes, length and noise maximise the marginal likelihood with weak
log-normal priors (Rasmussen & Williams, *Gaussian Processes for Machine Learning*, chapter 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from nas_baseline.space import Floats

PRIOR_MEAN = np.log(np.array([0.5, 4.0, 0.5, 0.5, 0.1]))
PRIOR_SD = np.array([1.5, 1.0, 1.5, 1.5, 1.0])
OTHER_START = np.array([1.5, 1.0, -2.0, -1.0, 0.0])
JITTER = 1e-8


@dataclass(frozen=True)
class Inputs:
    """What the process sees of n networks: encodings [n, features] and statistics [n, statistics]."""

    encoding: Floats
    statistics: Floats

    def rows(self, index: Floats | slice | list[int]) -> Inputs:
        """Return some of the networks."""
        return Inputs(self.encoding[index], self.statistics[index])  # type: ignore[index]


class GaussianProcess:
    """``fit`` once, ``predict`` often, ``believe`` to account for networks that are being measured."""

    def __init__(self) -> None:
        self._log = PRIOR_MEAN.copy()

    def fit(self, inputs: Inputs, values: Floats) -> None:
        """Fit to the values, shape [n], n >= 1; any scale."""
        self._inputs = inputs
        self._shift, scale = float(values.mean()), float(values.std())
        self._scale = scale if scale > 0 else 1.0
        self._target = (values - self._shift) / self._scale
        self._center, self._stat_center = inputs.encoding.mean(0), inputs.statistics.mean(0)
        parts = self._parts(inputs, inputs)
        starts = [PRIOR_MEAN, PRIOR_MEAN + OTHER_START]
        found = [
            minimize(self._loss, s, args=(parts,), jac=True, method="L-BFGS-B", options={"maxiter": 60}) for s in starts
        ]
        self._log = min(found, key=lambda r: float(r.fun)).x
        gram = self._gram(parts, self._log)
        n = len(values)
        self._factor = cholesky(gram + (np.exp(self._log[4]) + JITTER) * np.eye(n), lower=True)
        self._weights = cho_solve((self._factor, True), self._target)

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noise-free value, each of shape [len(inputs)]."""
        cross = self._gram(self._parts(inputs, self._inputs), self._log)
        half = solve_triangular(self._factor, cross.T, lower=True)
        variance = self._prior_variance(inputs) - (half**2).sum(0)
        return self._shift + self._scale * cross @ self._weights, self._scale * np.sqrt(np.maximum(variance, 1e-12))

    def covariance(self, inputs: Inputs, one: Inputs) -> Floats:
        """Return the posterior covariance of each network with ``one``, shape [len(inputs)]."""
        mine = self._gram(self._parts(inputs, self._inputs), self._log)
        other = self._gram(self._parts(one, self._inputs), self._log)
        prior = self._gram(self._parts(inputs, one), self._log)[:, 0]
        explained: Floats = prior - mine @ cho_solve((self._factor, True), other[0])
        return self._scale**2 * explained

    @property
    def noise_variance(self) -> float:
        """Variance of one measurement, in squared units of the values."""
        return float(self._scale**2 * np.exp(self._log[4]))

    def _parts(self, a: Inputs, b: Inputs) -> tuple[Floats, Floats, Floats]:
        """Return squared distances, and the two linear Gram matrices, each of shape [len(a), len(b)]."""
        x, y = a.encoding, b.encoding
        distance = np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T, 0.0)
        linear = (x - self._center) @ (y - self._center).T
        statistics = (a.statistics - self._stat_center) @ (b.statistics - self._stat_center).T
        return distance, linear, statistics

    def _gram(self, parts: tuple[Floats, Floats, Floats], log: Floats) -> Floats:
        p = np.exp(log)
        gram: Floats = p[0] * np.exp(-parts[0] / p[1]) + p[2] * parts[1] + p[3] * parts[2]
        return gram

    def _prior_variance(self, inputs: Inputs) -> Floats:
        p = np.exp(self._log)
        linear = ((inputs.encoding - self._center) ** 2).sum(1)
        statistics = ((inputs.statistics - self._stat_center) ** 2).sum(1)
        variance: Floats = p[0] + p[2] * linear + p[3] * statistics
        return variance

    def _loss(self, log: Floats, parts: tuple[Floats, Floats, Floats]) -> tuple[float, Floats]:
        """Return the negative log posterior of the hyper-parameters and its gradient."""
        p = np.exp(log)
        n = len(self._target)
        rbf = p[0] * np.exp(-parts[0] / p[1])
        gram = rbf + p[2] * parts[1] + p[3] * parts[2] + (p[4] + JITTER) * np.eye(n)
        try:
            factor = cholesky(gram, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(log)
        weights = cho_solve((factor, True), self._target)
        inverse = cho_solve((factor, True), np.eye(n))
        outer = inverse - np.outer(weights, weights)
        slopes = (rbf, rbf * parts[0] / p[1], p[2] * parts[1], p[3] * parts[2], p[4] * np.eye(n))
        offset = (log - PRIOR_MEAN) / PRIOR_SD
        value = 0.5 * self._target @ weights + np.log(np.diag(factor)).sum() + 0.5 * (offset**2).sum()
        gradient = np.array([0.5 * float((outer * s).sum()) for s in slopes]) + offset / PRIOR_SD
        return float(value), gradient
