"""How much of each layer pruning set to zero, layer by layer through the network."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle

from accounting.words.methods import parse_method
from accounting.words.names import PRUNE
from accounting.words.quantities import macs_short
from reports.data.frames import Frames
from reports.figures._axes import legend_below, replicates_text
from reports.measure.pruned_layers import method_rank, pruned_layers
from reports.words.colours import role_colour, role_rank
from reports.words.wording import role_text

TITLE = "Sparsity by layer"
OPTIONAL = True
COLOURS = "cividis_r"
COLUMNS = ["target", "method", "replicate", "position", "role", "sparsity"]


def data(frames: Frames) -> pd.DataFrame:
    """One row per target, method of the prune route, replicate and layer."""
    layers = pruned_layers(frames)
    layers = layers[layers["route"] == PRUNE]
    return layers.assign(sparsity=1 - layers["num_kept"] / layers["num_weights"])[COLUMNS].reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    num_layers = data.groupby(["target", "method"])["position"].nunique().max()
    return (
        f"Share of the weights of each of the {num_layers} layers with MACs that pruning set to zero, from the input (left) "
        f"to the output (right); mean over replicates ({replicates_text(data, ['target', 'method'])} per row). The "
        "coloured strip names the layers' roles. Methods that remove channels or blocks leave no zeros and are not shown."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target; a row per method, a column per layer."""
    targets = sorted(data["target"].unique())
    methods = sorted(data["method"].unique(), key=method_rank)
    figure.set_size_inches(8.6, 1.0 + len(targets) * (0.55 + 0.22 * (len(methods) + 1)))
    panels = figure.subplots(len(targets), 1, squeeze=False)[:, 0]
    for panel, target in zip(panels, targets, strict=True):
        image = _draw_strip(panel, data[data["target"] == target], methods)
        panel.set_title(f"≤ {macs_short(target)} MACs", fontsize=10, loc="left")
    panels[-1].set_xlabel("layer, from input to output")
    figure.colorbar(image, ax=list(panels), label="weights at zero (%)", pad=0.01, fraction=0.03)
    roles = sorted(data["role"].unique(), key=role_rank)
    handles = [Patch(facecolor=role_colour(role), label=role_text(role)) for role in roles]
    legend_below(figure, handles, len(handles))


def _draw_strip(panel: Axes, rows: pd.DataFrame, methods: list[str]) -> AxesImage:
    means = rows.groupby(["method", "position"])["sparsity"].mean().unstack().reindex(methods)
    image = panel.imshow(100 * means.to_numpy(), aspect="auto", cmap=COLOURS, vmin=0, vmax=100, interpolation="nearest")
    panel.set_ylim(len(methods) + 0.4, -0.5)
    for position, role in rows.groupby("position")["role"].first().items():
        panel.add_patch(
            Rectangle((float(str(position)) - 0.5, len(methods) - 0.35), 1, 0.7, color=role_colour(str(role)))
        )
    panel.set_yticks(range(len(methods)), [parse_method(name).text for name in methods], fontsize=8)
    panel.tick_params(axis="x", labelsize=8)
    panel.spines[:].set_visible(False)
    return image
