"""Search a table of known accuracies: the predictor against random search, at equal queries and in plain Python."""

from nas_baseline import search
from nas_baseline.spaces import load_space

space = load_space("fbnetv3_mini", in_chans=1, num_classes=10, image_size=28)
limit = 500_000  # MACs


def accuracy(arch):
    """Stand in for training: a made-up accuracy that grows with the MACs and prefers late layers."""
    return 0.6 + 0.3 * (space.macs(arch) / limit) - 0.01 * (sum(arch[: len(arch) // 2]) / len(arch))


best = {
    strategy: search(space, accuracy, max_macs=limit, num_trials=40, strategy=strategy, seed=0)
    for strategy in ("random", "predictor_evolution")
}
for strategy, found in best.items():
    print(
        f"{strategy}: {accuracy(found.best):.4f} with {space.macs(found.best):,} MACs after {len(found.history)} queries"
    )
assert accuracy(best["predictor_evolution"].best) >= accuracy(best["random"].best)
assert all(space.macs(found.best) <= limit for found in best.values())
