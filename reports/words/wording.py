"""How reports write numbers: charge policies, percentages, intervals. One place, so that all tables agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reports.statistics import Ends, Estimate

POLICY_TEXT = {
    "full": "all work charged",
    "free": "with the parent free",
    "amortised": "with shared work divided among the targets",
}
"""Charge policies in a sentence."""
POLICY_SHORT = {"full": "all charged", "free": "parent free", "amortised": "shared ÷ targets"}
"""Charge policies in a table or a title."""
NOT_MEASURED = "–"
AT_ENDS = "at the ends of the declared rates"
"""Where a value goes that depends on what hours on other GPU models count as."""
SAYS_NOTHING = "too wide to say anything"
"""The remark on an interval that is too wide."""
WIDE_SHARE = 0.9
"""An interval of a share that covers this much of 0 to 1 says nothing."""
WIDE_FACTOR = 100.0
"""An interval of a ratio or a cost whose ends are this factor apart says nothing."""


def number(value: float | None) -> str:
    """Three significant figures, without an exponent if that is readable."""
    if value is None:
        return NOT_MEASURED
    if value != 0 and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    return f"{float(f'{value:.3g}'):#.3g}".removesuffix(".")


def percent(fraction: float | None) -> str:
    """``0.8123`` → ``81.2 %``; a missing share is marked as missing."""
    if fraction is None:
        return NOT_MEASURED
    return f"{100 * fraction:.1f} %" if 0.0 <= fraction <= 1.0 else f"no share ({fraction:.3g})"


def percent_estimate(estimate: Estimate) -> str:
    """Mean ± standard deviation in percentage points, with n."""
    if estimate.value is None:
        return NOT_MEASURED
    if not 0.0 <= estimate.value <= 1.0:
        return f"{percent(estimate.value)} (n = {estimate.n})"
    spread = "" if estimate.sd is None else f" ± {100 * estimate.sd:.1f}"
    return f"{100 * estimate.value:.1f}{spread} % (n = {estimate.n})"


def number_over_interval(estimate: Estimate) -> str:
    """A value and, on a second line, its interval."""
    return _interval_below(number(estimate.value), estimate, number, "\nno interval", ratio_says_nothing)


def percent_over_interval(estimate: Estimate) -> str:
    """A share and, on a second line, its interval."""
    return _interval_below(percent(estimate.value), _as_share(estimate), _points, says_nothing=share_says_nothing)


def points_over_interval(estimate: Estimate) -> str:
    """A difference of accuracies in percentage points and, on a second line, its interval."""
    return _interval_below(_difference(estimate), estimate, _signed_points, says_nothing=difference_says_nothing)


def role_text(role: str) -> str:
    """The name of a layer role."""
    return "SE" if role == "se" else role


def percent_interval(estimate: Estimate) -> str:
    """A share with its 95 % interval and n, or the statement that there is no interval."""
    return _interval_behind(percent(estimate.value), _as_share(estimate), _points, share_says_nothing)


def points_estimate(estimate: Estimate) -> str:
    """A difference of accuracies in percentage points, with its interval or the statement that there is none."""
    return _interval_behind(_difference(estimate), estimate, _signed_points, difference_says_nothing)


def number_estimate(estimate: Estimate, suffix: str = "") -> str:
    """A value with its 95 % interval and n, or the statement that there is no interval."""
    return _interval_behind(f"{number(estimate.value)}{suffix}", estimate, number, ratio_says_nothing)


def with_range(estimate: Estimate) -> str:
    """A value, and below it how far it goes at the ends of the declared rates."""
    return f"{number(estimate.value)}{_ends_below(estimate, number)}"


def ends_clause(ends: Ends | None, shown: Callable[[float], str] = number, unit: str = "") -> str:
    """``; 1.2 to 1.5 at the ends of the declared rates``; empty without such ends."""
    return "" if ends is None else f"; {shown(ends.low)} to {shown(ends.high)}{unit} {AT_ENDS}"


def share_says_nothing(low: float, high: float) -> bool:
    """Whether an interval of a share, such as an accuracy, covers nearly all possible values."""
    return high - low >= WIDE_SHARE


def difference_says_nothing(low: float, high: float) -> bool:
    """Whether an interval of a difference of shares is as wide as the whole range of shares."""
    return high - low >= 1.0


def ratio_says_nothing(low: float, high: float) -> bool:
    """Whether the (positive) ends of an interval of a ratio or cost are so far apart that it says nothing."""
    return high > 0 and low < high / WIDE_FACTOR


def _interval_below(
    text: str,
    estimate: Estimate,
    shown: Callable[[float], str],
    without: str = "",
    says_nothing: Callable[[float, float], bool] = ratio_says_nothing,
) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return text + without + _ends_below(estimate, shown)
    wide = f"\n{SAYS_NOTHING}" if says_nothing(estimate.low, estimate.high) else ""
    return f"{text}\n({shown(estimate.low)} to {shown(estimate.high)}){wide}{_ends_below(estimate, shown)}"


def _ends_below(estimate: Estimate, shown: Callable[[float], str]) -> str:
    ends = estimate.ends
    return "" if ends is None else f"\ndeclared rates: {shown(ends.low)} to {shown(ends.high)}"


def _interval_behind(
    text: str, estimate: Estimate, shown: Callable[[float], str], says_nothing: Callable[[float, float], bool]
) -> str:
    if estimate.value is None:
        return NOT_MEASURED
    ends = ends_clause(estimate.ends, shown)
    if estimate.low is None or estimate.high is None:
        return f"{text} (n = {estimate.n}, no interval{ends})"
    wide = f": {SAYS_NOTHING}" if says_nothing(estimate.low, estimate.high) else ""
    return f"{text} ({shown(estimate.low)} to {shown(estimate.high)}{wide}, n = {estimate.n}{ends})"


def _as_share(estimate: Estimate) -> Estimate:
    """The interval, clipped to the possible values of a share."""
    low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (estimate.low, estimate.high))
    return replace(estimate, low=low, high=high)


def _difference(estimate: Estimate) -> str:
    return NOT_MEASURED if estimate.value is None else f"{_signed_points(estimate.value)} points"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _signed_points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"
