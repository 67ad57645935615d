"""Plans for devices that are not here, plans in money, and how long jobs take that wait for each other."""

import json
import pickle

import pytest
import torch
import yaml
from torch import nn

from accounting.ledger.records import Phase
from accounting.macs.count import count_macs
from harness.config.study import parse_config
from harness.errors import InputError
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Wait
from harness.jobs.start import FRESH, StructureOf, WeightsOf
from harness.jobs.work import Scan
from harness.plan import Plan, expected_jobs, play, timed_of
from harness.planning.hardware import HARDWARE, HIGH, LOW, parse_fleet
from harness.planning.pools import Pool
from harness.planning.speeds import Kind, Speeds, modelled_speeds, sampled
from harness.scheduling.simulated import PlannedJob, Simulation
from harness.validation import check_study


@pytest.fixture(scope="module")
def view(tiny_text):
    return check_study(parse_config(yaml.safe_load(tiny_text), "test"), need_data=False)


class TestFleets:
    @pytest.mark.parametrize(
        ("text", "count", "name"),
        [
            ("8x A100-80GB", 8, "A100-80GB"),
            ("8 x a100 80gb", 8, "A100-80GB"),
            ("h100-80gb", 1, "H100-80GB"),
            ("2×NVIDIA GeForce RTX 3090", 2, "RTX3090"),
        ],
    )
    def test_are_read_as_people_write_them(self, text, count, name):
        fleet = parse_fleet(text)
        assert (fleet.count, fleet.hardware.name) == (count, name)

    @pytest.mark.parametrize("text", ["", "0x T4", "8x", "8x A101", "A100", "-1x T4", "9999999x T4", "8 A100-80GB"])
    def test_others_are_refused_with_the_devices_that_there_are(self, text):
        with pytest.raises(InputError, match=r"--on: .* given; .*; devices: \w+"):
            parse_fleet(text)

    def test_no_two_devices_are_called_alike(self):
        for hardware in HARDWARE:
            for name in (hardware.name, *hardware.ledger_names):
                assert parse_fleet(f"3x {name}").hardware is hardware


class TestRoofline:
    @pytest.fixture
    def v100(self):
        return parse_fleet("V100-16GB").hardware

    def test_of_few_products_and_many_values_is_memorys(self, v100):
        layer = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        seconds = v100.seconds_per_image(count_macs(layer, (32, 128, 128)), 256)
        assert seconds == pytest.approx(40 * 2 * 32 * 128 * 128 / 900e9)

    def test_of_many_products_and_few_values_is_the_units(self, v100):
        layer = nn.Conv2d(4096, 64, 7)
        seconds = v100.seconds_per_image(count_macs(layer, (4096, 7, 7)), 256)
        assert seconds == pytest.approx(3 * 2 * 4096 * 64 * 49 / (0.5 * 125e12))

    def test_of_a_tiny_layer_is_the_launches(self, v100):
        seconds = v100.seconds_per_image(count_macs(nn.Linear(4, 4), (4,)), 10)
        assert seconds == pytest.approx(12 * 5e-6 / 10)


def test_speeds_by_a_model_are_the_networks_own(view):
    """In this model, one image takes as many seconds as its network has layers."""
    jobs = [planned.job for planned in expected_jobs(view, "cpu")]
    speeds = modelled_speeds(view.parent, view.parent_macs, jobs, view.info.image_shape, lambda r: len(r.layers))
    parent_layers = len(count_macs(_built(view.parent), view.info.image_shape).layers)
    assert speeds.parent == pytest.approx(3 * view.parent_macs / parent_layers)
    families = {repr(job.network): job for job in jobs if Kind.of(job) == Kind("scratch", "retrain", False)}.values()
    layers = [len(count_macs(_built(job.network), view.info.image_shape).layers) for job in families]
    own = [3 * job.computed_macs / number for job, number in zip(families, layers, strict=True)]
    assert len(own) == 2
    assert [speeds.of(job) for job in families] == [pytest.approx((own[0] * own[1]) ** 0.5)] * 2


def _built(network):
    from harness.models.build import build_network

    return build_network(network)


def test_the_parents_own_training_needs_no_share_of_its_speed(view):
    jobs = [planned.job for planned in expected_jobs(view, "cpu")]
    kinds = sampled(jobs, view.parent)
    assert Kind("prune", "pretrain", False) not in kinds
    assert all(1 <= len(examples) <= 3 for examples in kinds.values())
    assert len({repr(job.network) for job in kinds[Kind("search", "search", False)]}) == 3


@pytest.mark.parametrize(
    ("start", "hours"),
    [
        (WeightsOf("prune-r0-t600000-finetune"), {"full": 15, "free": 7, "amortised": 11}),
        (StructureOf("prune-r0-t600000-finetune"), {"full": 1, "free": 1, "amortised": 1}),
    ],
)
def test_a_route_is_charged_as_by_the_ledger_for_all_that_its_weights_come_from(view, start, hours):
    """Of 8, 4, 2 and 1 hours: pretraining, pruning, fine-tuning, and what another route makes from that network."""
    config = view.config.model_copy(update={"targets": [600_000, 400_000], "replicates": 1})
    steps = (
        (JobId("prune", 0, None, "pretrain"), "pretrain", FRESH, 8),
        (JobId("prune", 0, 600_000, "prune"), "prune", WeightsOf("prune-r0-pretrain"), 4),
        (JobId("prune", 0, 600_000, "finetune"), "finetune", WeightsOf("prune-r0-t600000-prune"), 2),
        (JobId("search", 0, 600_000, "retrain"), "retrain", start, 1),
    )
    jobs = [(Job(id, Phase(phase), 0, {}, Scan((), ()), 1, 1, begun), h) for id, phase, begun, h in steps]
    plan = Plan(tuple(PlannedJob(job, 3600.0 * h) for job, h in jobs), Speeds(1e9), "cpu", False, 0.0, 1)
    rows = [row for row in plan.summary(config)["per_target"] if (row["route"], row["target"]) == ("search", 600_000)]
    assert {row["policy"]: row["hours"] for row in rows} == pytest.approx(hours)


class TestWallTime:
    def test_of_one_place_is_the_sum_and_of_many_the_longest_chain(self, view):
        one = play(view, Speeds(1e9), "cpu")
        assert one.wall_s == pytest.approx(sum(planned.seconds for planned in one.jobs))
        two = play(view, Speeds(1e9), "cpu", pools=[Pool(2)])
        many = play(view, Speeds(1e9), "cpu", pools=[Pool(1000)])
        assert {p.job.name for p in two.jobs} == {p.job.name for p in many.jobs} == {p.job.name for p in one.jobs}
        assert one.wall_s / 2 <= two.wall_s < one.wall_s
        finetune = [p for p in one.jobs if p.job.route == "prune" and p.job.target == view.config.targets[0]]
        pretrain = [p for p in one.jobs if p.job.phase == "pretrain"]
        assert many.wall_s >= sum(p.seconds for p in pretrain + finetune), "jobs that build on each other"

    def test_of_jobs_that_wait_for_each_other(self):
        """Jobs of 4, 3 and 2 seconds on two devices; the last one waits for the first: 4 + 2."""
        simulation = Simulation(lambda job: job.seconds, pools=[Pool(2)])
        simulation.run(_Chain())
        assert simulation.wall_s == 6

    def test_of_a_job_on_half_a_device_is_twice_its_device_seconds(self):
        simulation = Simulation(lambda job: job.seconds, pools=[Pool(1)], held_by=lambda job: 0.5)
        simulation.run(_Chain())
        assert simulation.wall_s == 12

    def test_no_job_passes_one_that_waits_for_more_devices(self):
        """Jobs of 4 and 3 seconds on one device each; the one after the first holds both devices: 4, then 2 / 2."""
        simulation = Simulation(
            lambda job: job.seconds, pools=[Pool(2)], held_by=lambda job: 2 if job.seconds == 2 else 1
        )
        simulation.run(_Chain())
        assert simulation.wall_s == 5

    def test_of_a_job_on_a_slower_model_is_longer_and_its_cost_the_same(self):
        """Jobs of 4 and 3 seconds; the second is where an hour counts as half: 6 there, then 2 on the first device."""
        simulation = Simulation(lambda job: job.seconds, pools=[Pool(1, 1.0, "fast"), Pool(1, 0.5, "slow")])
        simulation.run(_Chain())
        held = {planned.pool.model: (planned.seconds, planned.held_s) for planned in simulation.jobs[:2]}
        assert held == {"fast": (4, 4), "slow": (3, 6)}
        assert simulation.wall_s == 6 + 2


class _Chain:
    """The scheduler's two methods for jobs a and b, which start at once, and c, which follows a."""

    def __init__(self):
        self._left, self._told, self._asked_last = [_job(4), _job(3)], 0, False

    def next(self):
        if self._left:
            return self._left.pop(0)
        if self._asked_last:
            return Done()
        if self._told < 2:
            return Wait()
        self._asked_last = True
        return _job(2)

    def tell(self, job, outcome):
        self._told += 1


def _job(seconds):
    """A job of this many seconds."""
    job = Job.__new__(Job)
    fields = {"id": JobId("a", 0, None, str(seconds)), "work": Scan((0.5,), ("global_magnitude",)), "start": FRESH}
    for name, value in (fields | {"seconds": seconds, "counted_macs": 1, "seed": 0, "phase": "search"}).items():
        object.__setattr__(job, name, value)
    return job


PRICES = """
devices:
  A100-80GB: {price_per_hour: 2.5, currency: USD, date: 2026-11-01, source: a cloud's list}
"""


class TestCommand:
    def test_a_plan_for_devices_elsewhere_and_its_price(self, command, write_config, tiny):
        prices = write_config(PRICES, "prices.yaml")
        path = write_config(tiny)
        code, out, err = command("plan", path, "--on", "8x A100-80GB", "--prices", prices, "--json")
        assert (code, err) == (0, "")
        plan = json.loads(out)
        assert (plan["on"], plan["range"], plan["unit"]) == ("8x A100-80GB", [LOW, HIGH], "gpu_hours")
        assert (plan["num_devices"], plan["device"]) == (8, "cuda")
        assert plan["money"]["amount"] == pytest.approx(2.5 * plan["hours"])
        assert plan["hours"] / 8 <= plan["wall_hours"] < plan["hours"]
        text = command("plan", path, "--on", "8x A100-80GB", "--prices", prices)[1]
        assert "on 8x A100-80GB (" in text
        assert "not measured" in text
        assert "USD at 2.5 USD a device and hour (2026-11-01, a cloud's list)" in text

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--on", "8x TPU"], "--on: '8x TPU' given"),
            (["--on", "T4", "--set", "resources.device=cpu"], "resources.device is cpu"),
            (["--on", "T4", "--prices", "PRICES"], "no price for"),
            (["--prices", "nowhere.yaml"], "nowhere.yaml"),
        ],
    )
    def test_what_cannot_be_planned_is_one_line(self, arguments, said, command, write_config, tiny):
        prices = str(write_config(PRICES, "prices.yaml"))
        given = [prices if each == "PRICES" else each for each in arguments]
        code, out, err = command("plan", write_config(tiny), *given)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_the_torch_that_measures_keeps_its_threads(view):
    from harness.plan import measure_speeds

    before = torch.get_num_threads()
    measure_speeds(view, "cpu", budget_s=0.05)
    assert torch.get_num_threads() == before


def test_what_is_timed_can_be_sent_to_a_process_of_its_own(view):
    timed = pickle.loads(pickle.dumps(timed_of(view)))
    assert timed == timed_of(view)
    assert timed.measured(torch.device("cpu"), 0.05).parent > 0
