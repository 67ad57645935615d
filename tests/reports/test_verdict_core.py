"""The statistics of the verdict: each value is worked out by hand or compared with another implementation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from reports.compare.field import AtTarget, judge_field
from reports.compare.guards import Obstacle, chance_limit, guard, most_spread
from reports.compare.judge import Effort, judge, judge_pooled, ratio_of, steepness
from reports.compare.log_ratio import LEAST_SD, log_ratio, pooled
from reports.compare.reach import SWAY, Steps, common_level, isotonic, slope_of, sway_of
from reports.compare.rule import Verdict, decide, holm, look_alpha, power_of_difference, power_of_tie, settling_n

NAN, INF = math.nan, math.inf
GOOD = np.array([0.85, 0.85, 0.85])


def array(*values):
    return np.array(values, dtype=float)


def effort(cost, final=0.85, spent=10.0):
    """Costs by replicate; final accuracy and total are the same for all unless given as lists."""
    whole = np.ones(len(cost))
    return Effort(final * whole, array(*cost), spent * whole)


class TestReach:
    def test_isotonic_averages_what_falls(self):
        # 3, 1 fall: both become 2; then 2, 6, 5: 2, and 5.5 twice
        assert isotonic(array(3, 1, 2, 6, 5)) == pytest.approx([2, 2, 2, 5.5, 5.5])

    def test_isotonic_is_scipys_on_every_row(self):
        values = np.random.default_rng(0).normal(size=(30, 9))
        assert isotonic(values) == pytest.approx(np.array([optimize.isotonic_regression(row).x for row in values]))

    def test_cost_is_linear_within_an_epoch_and_the_cheapest_training_counts(self):
        # first training: 0.6 at 1 h, 0.8 at 3 h. A later one: 0.9 at 5 h, with nothing measured before.
        steps = Steps(array(0, 1, 3), array(1, 3, 5), array(NAN, 0.6, NAN), array(0.6, 0.8, 0.9))
        assert steps.cost_of(0.7) == pytest.approx(2.0)  # halfway from 0.6 to 0.8
        assert steps.cost_of(0.5) == pytest.approx(1.0)  # the end of the first epoch, before which nothing is known
        assert steps.cost_of(0.85) == pytest.approx(5.0)
        assert steps.cost_of(0.95) == INF
        assert steps.final() == pytest.approx(0.9)

    def test_ending_a_little_short_is_read_at_its_own_end(self):
        steps = Steps(array(0, 1), array(1, 2), array(NAN, 0.6), array(0.6, 0.8))
        assert steps.cost_near(0.805, 0.01) == pytest.approx(2.0)
        assert steps.cost_near(0.811, 0.01) == INF

    def test_nothing_measured(self):
        nothing = Steps(array(), array(), array(), array())
        assert nothing.cost_of(0.5) == INF
        assert math.isnan(nothing.final())

    def test_the_weaker_one_pulls_the_level(self):
        # medians 0.84 and 0.80; the second's mean is 0.81; a replicate without a network pulls nowhere
        found = sway_of([array(0.8, 0.84, 0.9, 0.84), array(0.75, 0.85, 0.83, NAN)])
        assert found == pytest.approx([SWAY * -0.06, SWAY * 0.04, SWAY * 0.02, 0.0])

    def test_slopes_by_hand(self):
        # cost rises by e^0.1 over one point: 10 per unit; a cost that was not reached has no slope
        assert slope_of(array(1, 2), array(math.exp(0.1), INF)) == pytest.approx([10.0, NAN], nan_ok=True)

    def test_one_level_a_study(self):
        # medians 0.84 and 0.80; the level is the lower one less a point
        assert common_level([array(0.8, 0.84, 0.9), array(0.7, 0.8, 0.9)], 0.01) == pytest.approx(0.79)
        assert common_level([array(0.8, 0.84, 0.9), array(NAN, NAN, 0.9)], 0.01) is None  # the median has no network
        assert common_level([array(0.8, 0.84, 0.9), array()], 0.01) is None


class TestLogRatio:
    def test_whole_replicates_have_a_plain_t_interval(self):
        found = log_ratio(array(2, 4, 8), array(9, 9, 9), array(1, 1, 1), array(9, 9, 9))
        # logarithms ln2·(1, 2, 3): mean 2 ln2, sd ln2, t(0.975, 2) = 4.303
        half = 4.302653 * math.log(2) / math.sqrt(3)
        assert found.mean == pytest.approx(2 * math.log(2))
        assert found.interval(0.05) == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)), rel=1e-6)

    def test_replicates_that_agree_keep_the_least_sd(self):
        found = log_ratio(array(2, 2, 2), array(9, 9, 9), array(1, 1, 1), array(9, 9, 9))
        assert found.sd == LEAST_SD
        low, high = found.interval(0.05)
        assert math.log(high / low) == pytest.approx(2 * 4.302653 * LEAST_SD / math.sqrt(3))

    @pytest.mark.parametrize("side", [1, -1])
    def test_a_censored_replicate_has_its_log_normal_expectation(self, side):
        """The fit solves the equations of the censored normal: value = mean + sd·hazard, and the mean is over all."""
        whole, bound = array(1.0, 1.3, 1.1), 1.2
        above, below = np.exp(np.append(whole, NAN)), np.ones(4)
        above[3], spent = (INF, math.exp(bound)) if side == 1 else (math.exp(bound), 9)
        if side == -1:
            below[3] = INF
        found = log_ratio(above, array(9, 9, 9, spent), below, array(9, 9, 9, 1))
        mean, sd = found.mean, found.sd
        z = side * (bound - mean) / sd
        hazard = stats.norm.pdf(z) / stats.norm.sf(z)
        assert found.values[3] == pytest.approx(mean + side * sd * hazard, rel=1e-4)
        assert found.known[3] == pytest.approx(hazard * (hazard - z), rel=1e-4)
        assert found.mean == pytest.approx(np.append(whole, found.values[3]).mean(), rel=1e-6)
        assert (found.n, found.num_whole) == (4, 3)
        assert found.error == pytest.approx(sd / math.sqrt(3 + found.known[3]))

    def test_what_neither_reached_says_nothing_and_what_is_not_done_does_not_enter(self):
        found = log_ratio(array(2, INF, 2, 2), array(9, 9, 9, NAN), array(1, INF, 1, 1), array(9, 9, 9, 9))
        assert (found.n, found.mean) == (2, pytest.approx(math.log(2)))

    def test_without_two_whole_replicates_there_is_no_interval(self):
        found = log_ratio(array(2, INF), array(9, 9), array(1, 1), array(9, 9))
        assert (found.interval(0.05), found.p_value()) == (None, None)

    def test_a_cost_of_nothing_has_no_ratio(self):
        assert log_ratio(array(2, 2), array(9, 9), array(0, 1), array(9, 9)).n == 0

    def test_pooled_over_targets_within_each_replicate(self):
        first = log_ratio(array(2, 2), array(9, 9), array(1, 1), array(9, 9))
        second = log_ratio(array(8, 32), array(99, 99), array(1, 1), array(9, 9))
        # replicates: (2·8)^½ = 4 and (2·32)^½ = 8
        assert np.exp(pooled([first, second]).values) == pytest.approx([4, 8])


def of_logs(*logs):
    return log_ratio(np.exp(array(*logs)), np.full(len(logs), 1e9), np.ones(len(logs)), np.full(len(logs), 1e9))


class TestRule:
    @pytest.mark.parametrize(
        ("logs", "verdict", "by_more"),
        [
            ([0.69, 0.70, 0.71], Verdict.BASE, True),  # certainly 2.0 times
            ([-0.69, -0.70, -0.71], Verdict.CHALLENGER, True),
            ([0.15, 0.10, 0.20], Verdict.BASE, False),  # 1.16 (1.03 to 1.32)
            ([0.02, 0.03, 0.04], Verdict.TIE, False),  # certainly not 1, but within 1.05
            ([-0.02, 0.05, 0.0], Verdict.TIE, False),
            ([-0.5, 0.9, 0.3], Verdict.INSUFFICIENT_EVIDENCE, False),
            ([0.7], Verdict.INSUFFICIENT_EVIDENCE, False),
        ],
    )
    def test_verdicts(self, logs, verdict, by_more):
        found = decide(of_logs(*logs))
        assert (found.verdict, found.by_more) == (verdict, by_more)

    def test_a_tie_needs_the_90_percent_interval_alone(self):
        # sd 0.1 at n = 3: the 95 % interval reaches ±0.248 > ln 1.25 = 0.223, the 90 % one only ±0.169
        found = decide(of_logs(-0.1, 0.0, 0.1))
        assert found.high > 1.25
        assert found.verdict is Verdict.TIE

    def test_holm(self):
        # the smallest is tested at 0.05 / 3, the next at 0.05 / 2, which fails, so the rest keep that level
        assert holm([0.01, 0.2, 0.03]) == pytest.approx([0.05 / 3, 0.025, 0.025])
        assert holm([0.01, 0.04, 0.02]) == pytest.approx([0.05 / 3, 0.05, 0.025])
        assert holm([None, 0.01]) == pytest.approx([0.05, 0.025])

    def test_an_accuracy_that_the_replicates_choose_makes_the_interval_wider(self):
        """The ratio is 2 in each; its log rises by 10 per unit of accuracy, which replicates pull by -0.01, 0, 0.01.

        In effect the logs are ln 2 - 0.1, ln 2 and ln 2 + 0.1: sd 0.1, t(0.975, 2) = 4.303. The ratio and its sd stay.
        """
        base, challenger = (
            Effort(GOOD, np.full(3, cost), np.full(3, 10.0), np.full(3, slope), array(-0.01, 0, 0.01))
            for cost, slope in ((1.0, 20.0), (2.0, 30.0))
        )
        found = ratio_of(challenger, base)
        half = 4.302653 * 0.1 / math.sqrt(3)
        assert found.interval(0.05) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)), rel=1e-6)
        assert (found.sd, found.sd_in_all) == (LEAST_SD, pytest.approx(0.1))
        assert pooled([found, found]).error == pytest.approx(found.error)
        fixed = ratio_of(Effort(GOOD, challenger.cost, challenger.spent), Effort(GOOD, base.cost, base.spent))
        assert fixed.error == pytest.approx(LEAST_SD / math.sqrt(3))

    def test_a_slope_that_is_not_sure_counts_with_its_error(self):
        # mean 10, sd 3, standard error 3 / √3
        assert steepness(array(-13, -10, -7, NAN)) == pytest.approx(-math.sqrt(10**2 + 3))
        assert (steepness(array(5)), steepness(array(NAN))) == (5.0, 0.0)

    def test_each_look_has_less(self):
        assert [look_alpha(looks) for looks in range(4)] == [0.05, 0.01, 0.005, 0.0025]

    def test_the_n_that_settles_it(self):
        """The numbers in the design, for 80 % power at 1.25, 1.5 and 2."""
        for sd, expected in ((0.2, [9, 5, 3]), (0.3, [17, 7, 4]), (0.4, [28, 10, 5])):
            assert [settling_n(math.log(ratio), sd) for ratio in (1.25, 1.5, 2)] == expected
        assert settling_n(math.log(1.24), 2.0) is None

    @pytest.mark.parametrize("alpha", [0.1, 0.05, 0.0125])
    @pytest.mark.parametrize("sd", [0.02, 0.1, 0.35, 0.8])
    def test_no_n_is_left_out(self, sd, alpha):
        """`settling_n` passes over an n at which even a test that knows the sd is not likely to settle it."""
        for mean in (0.0, 0.04, -0.1, 0.2, 0.23, -0.4, 1.2):
            powers = (
                power_of_difference(abs(mean), sd, n, alpha) + power_of_tie(mean, sd, n, alpha) for n in range(2, 201)
            )
            assert settling_n(mean, sd, alpha) == next((n for n, one in enumerate(powers, 2) if one >= 0.8), None)

    def test_power_is_what_a_simulation_counts(self):
        values = np.random.default_rng(1).normal(0.3, 0.2, (4000, 5))
        half = stats.t.ppf(0.975, 4) * values.std(axis=1, ddof=1) / math.sqrt(5)
        assert power_of_difference(0.3, 0.2, 5) == pytest.approx((values.mean(axis=1) - half > 0).mean(), abs=0.03)
        values = np.random.default_rng(2).normal(0, 0.2, (4000, 10))
        half = stats.t.ppf(0.95, 9) * values.std(axis=1, ddof=1) / math.sqrt(10)
        inside = np.abs(values.mean(axis=1)) + half < math.log(1.25)
        assert power_of_tie(0.0, 0.2, 10) == pytest.approx(inside.mean(), abs=0.03)


class TestGuards:
    def check(self, base=GOOD, challenger=GOOD, reached=(3, 3), level: float | None = 0.84, **more):
        return guard([base, challenger], reached, level, **more)

    def test_none_holds(self):
        assert self.check(num_classes=10, control=0.86) is None

    @pytest.mark.parametrize(
        ("given", "obstacle", "place"),
        [
            ({"reached": (3, 1)}, Obstacle.NOT_REACHED, 1),
            ({"level": None, "base": array(NAN, NAN, 0.8)}, Obstacle.NOT_REACHED, 0),
            ({"base": array(0.10, 0.10, 0.11), "level": 0.09, "num_classes": 10}, Obstacle.APART, None),
            ({"challenger": array(0.91, 0.91, 0.91)}, Obstacle.APART, None),
            (
                {"base": array(0.1, 0.1), "challenger": array(0.1, 0.1), "level": 0.09, "num_classes": 10},
                Obstacle.CHANCE,
                None,
            ),
            ({"challenger": array(0.85, 0.85, 0.80)}, Obstacle.SPREAD, 1),
            ({"control": 0.88}, Obstacle.BELOW_CONTROL, None),
        ],
    )
    def test_each(self, given, obstacle, place):
        found = self.check(**given)
        assert (found.obstacle, found.place) == (obstacle, place)

    def test_a_limit_that_is_met_exactly_is_kept(self):
        """0.85 - 0.80 is a little more than 0.05 in binary."""
        assert self.check(array(0.85, 0.85, 0.85), array(0.80, 0.80, 0.80), level=0.79) is None
        assert self.check(challenger=array(0.85, 0.85, 0.81)) is None
        assert self.check(control=0.87) is None
        assert self.check(array(0.16, 0.16), array(0.16, 0.16), (2, 2), 0.16 - 0.01, num_classes=10) is None

    def test_one_replicate_need_not_be_two(self):
        assert self.check(array(0.85), array(0.85), (1, 1)) is None

    def test_limits(self):
        # 10 classes: 10 % + 5 points; 1000 classes: three times 0.1 %
        assert [chance_limit(10), chance_limit(1000)] == pytest.approx([0.15, 0.003])
        # expected ranges of 3 and 10 normal values: 1.693 and 3.078
        assert [most_spread(2), most_spread(3), most_spread(10)] == pytest.approx(
            [0.04, 0.04, 0.04 * 3.078 / 1.693], rel=1e-3
        )


class TestJudge:
    def test_targets_are_corrected_and_pooled_are_not(self):
        sure = (effort([1, 1, 1]), effort([2, 2.2, 1.9]))
        unsure = (effort([1, 1, 1]), effort([1.1, 1.6, 1.35]))  # alone: 1.33 (0.83 to 2.12)
        found = judge([sure, unsure], [0.84, 0.84])
        assert [one.decision.alpha for one in found] == pytest.approx([0.025, 0.05])
        whole = judge_pooled(found)
        assert whole.decision.alpha == 0.05
        assert whole.ratio.mean == pytest.approx((found[0].ratio.mean + found[1].ratio.mean) / 2)

    def test_a_guarded_target_is_left_out_of_the_whole(self):
        sure = (effort([1, 1, 1]), effort([2, 2.2, 1.9]))
        apart = (effort([1, 1, 1], final=0.10), effort([3, 3, 3]))
        found = judge([sure, apart], [0.84, 0.09])
        assert [one.verdict for one in found] == [Verdict.BASE, Verdict.NOT_COMPARABLE]
        assert judge_pooled(found).ratio.mean == pytest.approx(found[0].ratio.mean)
        assert judge_pooled(found[1:]).verdict is Verdict.NOT_COMPARABLE


class TestField:
    def found(self, *targets, controls=(), num_classes=None):
        """The judged targets; prune and search are the pair, at 0.84."""
        at = [
            AtTarget(
                one, 0.84, judge([(one["prune"], one["search"])], [0.84])[0] if "search" in one else None, controls
            )
            for one in targets
        ]
        return judge_field(at, ("prune", "search"), 0.01, num_classes=num_classes)

    def test_a_control_makes_both_needless(self):
        routes = {"prune": effort([10, 11, 10]), "search": effort([20, 22, 19])}
        accurate, poor = effort([3, 3.1, 3]), effort([3, 3.1, 3], final=0.83)
        (found,) = self.found(routes | {"small": accurate, "poor": poor}, controls=["small", "poor"])
        assert set(found.instead) == {"small"}

    def test_a_control_that_is_cheaper_than_one_of_them_is_not_enough(self):
        routes = {"prune": effort([10, 11, 10]), "search": effort([3, 3.2, 2.9])}
        (found,) = self.found(routes | {"small": effort([3, 3.1, 3])}, controls=["small"])
        assert found.instead == {}

    def test_a_control_at_chance_is_as_good_as_nothing(self):
        all_ = {
            name: effort(cost, final=0.1)
            for name, cost in (("prune", [9, 9, 9]), ("search", [9, 9, 9]), ("small", [1, 1, 1]))
        }
        assert self.found(all_, controls=["small"], num_classes=10)[0].instead == {}

    def test_a_control_that_is_far_more_accurate_is_judged_where_it_makes_both_needless(self):
        routes = {"prune": effort([10, 11, 10]), "search": effort([20, 22, 19])}
        (found,) = self.found(routes | {"small": effort([3, 3.1, 3], final=0.95)}, controls=["small"])
        assert (set(found.instead), found.rows["small"].guarded) == ({"small"}, None)
        assert found.cheapest.is_shown
        (found,) = self.found(routes | {"other": effort([3, 3.1, 3], final=0.95)})  # no control: accuracy is the answer
        assert found.rows["other"].verdict is Verdict.NOT_COMPARABLE
        assert not found.cheapest.is_shown

    def test_a_control_whose_costs_cannot_be_compared_makes_nothing_needless(self):
        """Its replicates, or a route's, end 8 points apart; being far more accurate does not get it past that."""
        routes = {"prune": effort([10, 11, 10]), "search": effort([20, 22, 19])}
        for better in (0, 0.11):
            scattered = replace(effort([3, 3.1, 3]), final=np.array([0.84, 0.88, 0.92]) + better)
            (found,) = self.found(routes | {"small": scattered}, controls=["small"])
            assert (found.instead, found.cheapest.is_shown) == ({}, False)
            assert found.rows["small"].verdict is Verdict.NOT_COMPARABLE
        scattered = replace(effort([20, 22, 19]), final=np.array([0.80, 0.84, 0.88]))
        (found,) = self.found(routes | {"search": scattered, "small": effort([3, 3.1, 3])}, controls=["small"])
        assert found.instead == {}

    def test_the_cheapest_is_shown_where_all_others_cost_more(self):
        three = {"prune": effort([10, 11, 10]), "search": effort([20, 22, 19]), "small": effort([3, 3.1, 3])}
        (found,) = self.found(three)
        assert (found.cheapest.label, found.cheapest.is_shown) == ("small", True)
        # one contender besides the pair at one target: every claim has the whole level
        assert [one.alpha for one in found.cheapest.decisions.values()] == pytest.approx([0.05, 0.05])
        close = three | {"small": effort([9, 11.5, 10])}
        assert not self.found(close)[0].cheapest.is_shown

    def test_contenders_times_targets_share_the_level(self):
        """Two contenders at two targets are four claims; any other claim has the stricter of its contenders' levels."""
        unsure = effort([8, 14, 9])
        one = {"prune": effort([10, 11, 10]), "search": effort([20, 22, 19]), "a": effort([3, 3.1, 3]), "b": unsure}
        first, second = self.found(one, one)
        levels = [at.rows[label].decision.alpha for at in (first, second) for label in ("a", "b")]
        # the claims of `a` are shown at 0.05 / 4 and 0.05 / 3; those of `b` fail at 0.05 / 2
        assert sorted(levels) == pytest.approx([0.05 / 4, 0.05 / 3, 0.025, 0.025])
        assert first.cheapest.label == "a"
        own = first.rows["a"].decision.alpha
        assert {label: of.alpha for label, of in first.cheapest.decisions.items()} == pytest.approx(
            {"prune": own, "search": own, "b": min(own, 0.025)}
        )

    def test_one_that_did_not_get_there_does_not_compete(self):
        two = {"prune": effort([10, 11, 10]), "small": effort([INF, INF, 1])}
        assert self.found(two)[0].cheapest.label == "prune"

    @given(st.integers(0, 2**32 - 1))
    @example(2005)  # the replicates of a control, or of a route that it would replace, are scattered
    @settings(max_examples=100, deadline=None)
    def test_claims_never_contradict_each_other(self, seed):
        """A contender shown as cheapest, or named in `neither`, is shown as cheaper in its own row, by one interval."""
        rng = np.random.default_rng(seed)
        n, labels = int(rng.integers(2, 6)), ["prune", "search", *(f"c{place}" for place in range(rng.integers(1, 4)))]
        targets = []
        for _ in range(rng.integers(1, 4)):
            sway = rng.normal(0, 0.01, n)
            targets.append({label: random_effort(rng, sway) for label in labels})
        heads = judge([(one["prune"], one["search"]) for one in targets], [0.84] * len(targets))
        at = [AtTarget(one, 0.84, head, labels[2:]) for one, head in zip(targets, heads, strict=True)]
        for head, found in zip(heads, judge_field(at, ("prune", "search"), 0.01), strict=True):
            rows, best = found.rows | {"search": head}, found.cheapest
            for label in found.instead:
                assert rows[label].verdict is Verdict.CHALLENGER
            if best is None or "prune" not in {best.label, *best.decisions}:
                continue
            if best.label == "prune":
                assert {label: rows[label].decision.alpha for label in best.decisions} == {
                    label: one.alpha for label, one in best.decisions.items()
                }
                assert not best.is_shown or all(rows[label].verdict is Verdict.BASE for label in best.decisions)
            else:
                row, claim = rows[best.label], best.decisions["prune"]
                assert (claim.verdict is Verdict.BASE) == (row.verdict is Verdict.CHALLENGER)
                if claim.low is not None:
                    assert (1 / row.decision.high, 1 / row.decision.low) == pytest.approx((claim.low, claim.high))


def random_effort(rng, sway):
    """A random accuracy near 0.85 and a random cost; a tenth of the replicates do not reach it."""
    n = len(sway)
    cost = np.exp(rng.normal(rng.normal(0, 0.7), 0.2, n))
    return Effort(
        rng.normal(0.85, 0.012, n),
        np.where(rng.random(n) < 0.1, INF, cost),
        np.full(n, 20.0),
        rng.normal(5, 5, n),
        sway,
    )
