"""The Gaussian process matches scikit-learn's with the same kernel: predictions, uncertainty, marginal likelihood."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Kernel

from nas_baseline.predictor.base import Encoder
from nas_baseline.predictor.gaussian_process import JITTER, PRIOR_MEAN, PRIOR_SD, GaussianProcess
from nas_baseline.spaces import load_space


class Picked(Kernel):
    """Applies another kernel to some of the columns."""

    def __init__(self, kernel, columns):
        self.kernel, self.columns = kernel, columns

    def __call__(self, X, Y=None, eval_gradient=False):
        return self.kernel(X[:, self.columns], None if Y is None else Y[:, self.columns])

    def diag(self, X):
        return self.kernel.diag(X[:, self.columns])

    def is_stationary(self):
        return False


@pytest.mark.parametrize(("num_seen", "seed"), [(6, 0), (25, 1), (80, 2)])
def test_same_kernel_same_posterior(num_seen, seed):
    space, rng = load_space("fbnetv3_mini"), np.random.default_rng(seed)
    archs = list(dict.fromkeys(space.sample(rng) for _ in range(num_seen + 60)))
    encode = Encoder(space, archs)
    seen, others = encode(archs[:num_seen]), encode(archs[num_seen:])
    model = GaussianProcess()
    model.fit(seen, 0.8 + 0.05 * rng.standard_normal(num_seen))

    amplitude, length, linear, statistics, noise = np.exp(model._log)
    size = seen.encoding.shape[1]
    first, last = slice(0, size), slice(size, None)
    kernel = Picked(ConstantKernel(amplitude) * RBF(np.sqrt(length / 2)), first)
    kernel = kernel + Picked(ConstantKernel(linear) * DotProduct(0.0), first)
    kernel = kernel + Picked(ConstantKernel(statistics) * DotProduct(0.0), last)
    theirs = GaussianProcessRegressor(kernel, alpha=noise + JITTER, optimizer=None)

    def features(inputs):
        return np.hstack([inputs.encoding - model._center, inputs.statistics - model._stat_center])

    theirs.fit(features(seen), model._target)
    mean, sd, _ = model._latent(others)
    expected_mean, expected_sd = theirs.predict(features(others), return_std=True)
    assert mean == pytest.approx(expected_mean, abs=1e-6)
    assert sd == pytest.approx(expected_sd, abs=1e-5)

    loss, _ = model._loss(model._log, model._parts(seen, seen))
    prior = 0.5 * (((model._log - PRIOR_MEAN) / PRIOR_SD) ** 2).sum()
    likelihood = -(loss - prior) - num_seen / 2 * np.log(2 * np.pi)
    assert likelihood == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-6)
