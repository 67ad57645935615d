"""The normal, Student's t, chi-squared and non-central t distributions: the few functions that verdicts need.

scipy.special has them all, but importing it took a sixth of the time of ``answer`` on a small study (docs/dependencies.md),
nearly all of it for what its package imports beside them. These agree with scipy to ten digits for 1 to 1,000 degrees of
freedom (tested); what else is needed of scipy is imported where it is used.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NORMAL = NormalDist()
_EPSILON = 1e-15
_MOST_TERMS = 10_000
_MOST_ROUNDS = 50
_NEAR = 1e-13
_FAR = 26.0
"""So many standard deviations below the mean, the logarithm of the normal distribution is taken from its series."""
_NOTHING = 8.5
"""So many standard deviations out, a normal probability is below the last digit of 1."""
_WIDEST = 0.125
"""Steps in log S: the error of the sum is about exp(-π² / 2 over this), as the integrand is smooth up to ±iπ/4."""
_FALL = 40.0
"""A density that has fallen by a factor of e to this power counts as 0."""


def normal_cdf(values: Floats) -> Floats:
    """The standard normal distribution function, with full relative precision in the lower tail, too."""
    flat = [math.erfc(value) for value in (values * -math.sqrt(0.5)).ravel().tolist()]
    return np.array(flat).reshape(values.shape) / 2


def log_normal_cdf(values: Floats) -> Floats:
    """Its natural logarithm.

    In the far tail by the asymptotic series of Mills' ratio (DLMF 7.12.1).
    """
    flat = [_log_normal(value) for value in values.ravel().tolist()]
    return np.array(flat).reshape(values.shape)


def normal_quantile(probability: float) -> float:
    """The quantile of the standard normal distribution (Wichura, *Applied Statistics* 37, 1988, AS 241)."""
    return _NORMAL.inv_cdf(probability)


def t_both_tails(t: float, degrees: float) -> float:
    """The probability that Student's t is at least ``t`` from 0, on either side: the p-value of ``t``."""
    if t == 0:
        return 1.0
    share = t * t / degrees
    if share == 0:  # too small a number
        return 1.0
    return _beta_share(degrees / 2, 0.5, 1 / (1 + share), 1 / (1 + 1 / share))


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t distribution, by Newton's method on the logarithms of both ``t`` and its tails.

    As a function of log t, the logarithm of the tails is concave and ends in a straight line. So the method comes near the
    quantile from the right after at most one step, and stays there.
    """
    if probability == 0.5:
        return 0.0
    tails = 2 * min(probability, 1 - probability)
    at = math.log(-normal_quantile(tails / 2))
    scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    step = math.inf
    while abs(step) > _EPSILON * max(1.0, abs(at)):
        t = math.exp(at)
        found = t_both_tails(t, degrees)
        density = math.exp(scale - (degrees + 1) / 2 * math.log1p(t * t / degrees))
        new = math.log(found / tails) * found / (2 * t * density)
        if abs(new) >= abs(step):
            break  # no nearer: what is left is rounding
        at, step = at + new, new
    return math.copysign(math.exp(at), probability - 0.5)


def chi2_quantile(probabilities: Floats, degrees: int) -> Floats:
    """Quantiles of the chi-squared distribution with a whole number of degrees, for probabilities of 0.001 and more.

    Newton's method on the logarithms, from the approximation of Wilson and Hilferty (*PNAS* 17, 1931). As a function of the
    logarithm of its argument, the logarithm of the distribution is concave, so that it converges.
    """
    if degrees == 1:
        return np.array([normal_quantile((1 + one) / 2) ** 2 for one in probabilities.tolist()])
    if degrees == 2:
        return -2 * np.log1p(-probabilities)
    spread = 2 / (9 * degrees)
    normal = np.array([normal_quantile(one) for one in probabilities.tolist()])
    at = math.log(degrees) + 3 * np.log(np.maximum(1 - spread + normal * math.sqrt(spread), 0.1))
    wanted = np.log(probabilities)
    for _ in range(_MOST_ROUNDS):
        values = np.exp(at)
        below = 1 - _chi2_above(values, degrees)
        slope = np.exp(degrees / 2 * (at - math.log(2)) - values / 2 - math.lgamma(degrees / 2))
        step = (wanted - np.log(below)) * below / slope
        at = at + step
        if np.abs(step).max() < _NEAR:
            break
    return np.exp(at)


def noncentral_t_cdf(t: float, degrees: int, shift: float) -> float:
    """The probability that (Z + shift) / S is at most ``t`` > 0, where Z is normal and S² is chi-squared / degrees.

    It is the mean of the normal distribution at t · S - shift over S. In log S, the integrand is smooth and falls off at
    both ends, so that a sum over equal steps is exact to all digits (Trefethen and Weideman, *SIAM Review* 56, 2014). The
    steps are a third of the width of its steepest part, and narrow enough for its tails. ``shift`` is not negative.
    """
    fall = _FALL / degrees
    low, high = -fall - 0.5, math.sqrt(fall)
    if shift > _NOTHING:
        low = max(low, math.log((shift - _NOTHING) / t))
    if low >= high:
        return 0.0
    most = min(math.sqrt(0.5 / degrees) / 3, 1 / max(1.0, shift) / 3, _WIDEST)
    places, step = np.linspace(low, high, math.ceil((high - low) / most) + 1, retstep=True)
    scale = math.log(2) + degrees / 2 * math.log(degrees / 2) - math.lgamma(degrees / 2)
    density = np.exp(scale + degrees * (places - np.exp(2 * places) / 2))
    return float((density * normal_cdf(t * np.exp(places) - shift)).sum() * step)


def _log_normal(value: float) -> float:
    if value > 0:
        return math.log1p(-math.erfc(value * math.sqrt(0.5)) / 2)
    if value > -_FAR:
        return math.log(math.erfc(-value * math.sqrt(0.5)) / 2)
    inverse = 1 / (value * value)
    series = 1 - inverse * (1 - 3 * inverse * (1 - 5 * inverse * (1 - 7 * inverse)))
    return -value * value / 2 - math.log(-value) - 0.5 * math.log(2 * math.pi) + math.log(series)


def _beta_share(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function at ``x`` = 1 - ``rest``.

    By its continued fraction (DLMF 8.17.22), at the end where that converges fast.
    """
    if x <= 0 or rest <= 0:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, rest, x)
    log_x = math.log(x) if x < 0.5 else math.log1p(-rest)
    log_rest = math.log(rest) if rest < 0.5 else math.log1p(-x)
    ahead = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * log_x + b * log_rest
    return math.exp(ahead) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction, by Lentz's method: Thompson and Barnett, *J. Computational Physics* 64, 1986."""
    value = upper = 1.0
    lower = 0.0
    for k in range(1, _MOST_TERMS):
        m = k // 2
        if k % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower)
        upper = 1 + term / upper
        value *= upper * lower
        if abs(upper * lower - 1) < _EPSILON:
            break
    return value


def _chi2_above(values: Floats, degrees: int) -> Floats:
    """The probability that chi-squared is larger, a finite sum by DLMF 8.8.6 from 1/2 or 1."""
    half = values / 2
    whole = np.exp(-half)
    if degrees % 2:
        above, power, term = 2 * normal_cdf(-np.sqrt(values)), 0.5, whole * np.sqrt(half) / math.gamma(1.5)
    else:
        above, power, term = whole, 1.0, whole * half
    for _ in range((degrees - 1) // 2):
        above = above + term
        power += 1
        term = term * half / power
    return above
