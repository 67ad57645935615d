"""Gaussian process over network encodings: mean and uncertainty of a network's value from a few measurements.

Kernel: RBF on the squared distance of encodings (Hamming distance where they are one-hot) + linear on encodings + linear on
statistics (MACs, weights) + noise. Amplitudes, length and noise maximise the marginal likelihood with weak log-normal
priors (Rasmussen & Williams, *Gaussian Processes for Machine Learning*, chapter 5). Values are fitted on a scale where the
best count most (``Warp``). A fit consists of many small matrix products and is fastest on one thread: several threads would
wait for each other, which takes many times as long if the other cores are busy training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_baseline.predictor.base import Inputs, Warp
from nas_baseline.spaces.base import Floats

# Hyper-parameters, as logarithms: RBF amplitude, RBF length, linear, linear on statistics, noise variance.
PRIOR_MEAN = np.log(np.array([0.5, 4.0, 0.5, 0.5, 0.1]))
PRIOR_SD = np.array([1.5, 1.0, 1.5, 1.5, 1.0])
STARTS = np.stack([PRIOR_MEAN, PRIOR_MEAN + np.array([1.5, 1.0, -2.0, -2.0, 0.0])])
BOUNDS = [(-9.0, 6.0)] * len(PRIOR_MEAN)
MAX_STEPS = 40
JITTER = 1e-8


@dataclass(frozen=True)
class _Parts:
    """The terms of the kernel for two sets of networks, each of shape [len(a), len(b)]."""

    distance: Floats
    linear: Floats
    statistics: Floats

    def gram(self, log: Floats) -> Floats:
        p = np.exp(log)
        gram: Floats = p[0] * np.exp(-self.distance / p[1]) + p[2] * self.linear + p[3] * self.statistics
        return gram


class GaussianProcess:
    """``fit`` on measured networks, then ``predict``, or ``choose`` the next batch to measure."""

    def pretrain(self, pool: Inputs) -> None:
        """Do nothing: the statistics are part of the kernel."""

    def fit(self, inputs: Inputs, values: Floats) -> None:
        """Fit to the values, shape [n], n >= 1; any scale."""
        self._inputs = inputs
        self._warp = Warp.of(values)
        warped = self._warp(values)
        self._shift, scale = float(warped.mean()), float(warped.std())
        self._scale = scale if scale > 0 else 1.0
        self._target = (warped - self._shift) / self._scale
        self._center, self._stat_center = inputs.encoding.mean(0), inputs.statistics.mean(0)
        parts = self._parts(inputs, inputs)
        from scipy.linalg import cho_solve, cholesky  # imported here, since reading a config must not import scipy
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):
            found = [
                minimize(
                    self._loss,
                    s,
                    args=(parts,),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=BOUNDS,
                    options={"maxiter": MAX_STEPS},
                )
                for s in STARTS
            ]
        self._log = min(found, key=lambda r: float(r.fun)).x
        gram = parts.gram(self._log) + (np.exp(self._log[4]) + JITTER) * np.eye(len(values))
        self._factor = cholesky(gram, lower=True)
        self._weights = cho_solve((self._factor, True), self._target)

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noise-free value, each of shape [len(inputs)]."""
        mean, sd, _ = self._latent(inputs)
        values = self._warp.inverse(self._shift + self._scale * mean)
        return values, self._scale * sd * self._warp.slope(values)

    def believed(self, values: Floats, own_share: float) -> Floats:
        """The values believed of the fitted networks, shape [n].

        The part of a measured value that the kernel does not explain is partly noise and partly the network's own; the
        share ``own_share`` (0-1) of it is taken as its own.
        """
        mean, _, _ = self._latent(self._inputs)
        latent = mean + own_share * ((self._warp(values) - self._shift) / self._scale - mean)
        return self._warp.inverse(self._shift + self._scale * latent)

    def bound(self, inputs: Inputs, confidence: float) -> Floats:
        """The upper confidence bound on the fitted scale (only its order means something), shape [n]."""
        mean, sd, _ = self._latent(inputs)
        return mean + confidence * sd

    def choose(self, inputs: Inputs, count: int, confidence: float) -> list[int]:
        """The rows to measure next by upper confidence bound.

        Each choice reduces the uncertainty of similar networks before the next is made (batch GP-UCB, Desautels et al.,
        JMLR 2014), so a batch does not measure one idea several times.
        """
        mean, sd, half = self._latent(inputs)
        variance, noise = sd**2, float(np.exp(self._log[4]))
        chosen: list[int] = []
        updates: list[tuple[Floats, float]] = []
        for _ in range(min(count, len(inputs))):
            bound = mean + confidence * np.sqrt(variance)
            bound[chosen] = -np.inf
            pick = int(np.argmax(bound))
            chosen.append(pick)
            one = Inputs(*(part[pick : pick + 1] for part in (inputs.architecture, inputs.recipe, inputs.statistics)))
            covariance = self._parts(inputs, one).gram(self._log)[:, 0] - half.T @ half[:, pick]
            for earlier, total in updates:
                covariance -= earlier * earlier[pick] / total
            total = float(variance[pick]) + noise
            updates.append((covariance, total))
            variance = np.maximum(variance - covariance**2 / total, 1e-12)
        return chosen

    def _latent(self, inputs: Inputs) -> tuple[Floats, Floats, Floats]:
        """Standardised mean [m], standard deviation [m] and the whitened covariance with the data [n, m]."""
        from scipy.linalg import solve_triangular

        cross = self._parts(inputs, self._inputs).gram(self._log)
        half = solve_triangular(self._factor, cross.T, lower=True)
        p = np.exp(self._log)
        prior = p[0] + p[2] * ((inputs.encoding - self._center) ** 2).sum(1)
        prior = prior + p[3] * ((inputs.statistics - self._stat_center) ** 2).sum(1)
        return cross @ self._weights, np.sqrt(np.maximum(prior - (half**2).sum(0), 1e-12)), half

    def _parts(self, a: Inputs, b: Inputs) -> _Parts:
        x, y = a.encoding - self._center, b.encoding - self._center
        linear = x @ y.T
        distance = np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * linear, 0.0)
        return _Parts(distance, linear, (a.statistics - self._stat_center) @ (b.statistics - self._stat_center).T)

    def _loss(self, log: Floats, parts: _Parts) -> tuple[float, Floats]:
        """The negative log posterior of the hyper-parameters and its gradient."""
        from scipy.linalg import cho_solve, cholesky

        p, identity = np.exp(log), np.eye(len(self._target))
        rbf = p[0] * np.exp(-parts.distance / p[1])
        linear, statistics = p[2] * parts.linear, p[3] * parts.statistics
        try:
            factor = cholesky(rbf + linear + statistics + (p[4] + JITTER) * identity, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(log)
        weights = cho_solve((factor, True), self._target)
        outer = (cho_solve((factor, True), identity) - np.outer(weights, weights)).ravel()
        slopes = (rbf, rbf * parts.distance / p[1], linear, statistics, p[4] * identity)
        offset = (log - PRIOR_MEAN) / PRIOR_SD
        value = 0.5 * self._target @ weights + np.log(np.diag(factor)).sum() + 0.5 * (offset**2).sum()
        gradient = np.array([0.5 * float(outer @ s.ravel()) for s in slopes]) + offset / PRIOR_SD
        return float(value), gradient
