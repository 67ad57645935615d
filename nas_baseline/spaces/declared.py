"""Spaces of staged convolutional networks with their training recipe, declared as data and counted analytically.

A space is a mapping (see ``spaces/*.yaml``) with stem, stages of ``ds`` or ``ir`` blocks, head and recipe. Every entry of a
stage is a dimension: one value, a list, or ``{min, max, step}``; ``kernel_rest`` and ``expansion_rest`` apply to the blocks
after a stage's first. Members that are the same network share one canonical member: dimensions without effect (``_rest`` at
depth 1) are 0 in it, and of several widths that round to the same value it has the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from accounting.ledger.specs import NetworkSpec
from nas_baseline.spaces.base import Arch, Choice, Dimension, DiscreteSpace, Ints, as_indices
from nas_baseline.spaces.counting import WIDTH_ROUND_LIMIT, Numbers, expanded_width, round_width, se_width
from nas_baseline.spaces.fields import (
    RECIPE_KEYS,
    STAGE_KEYS,
    Number,
    RecipeFields,
    StageFields,
    check_keys,
    check_section,
    checked_space,
    is_number,
)

LOG_RECIPE = ("lr", "weight_decay")


class StageSpace(DiscreteSpace):
    """A declared space; ``network_spec``, ``image_size`` and ``recipe`` describe a member."""

    def __init__(self, data: Mapping[str, object]) -> None:
        self.data = fields = checked_space(data)
        self.in_chans, self.num_classes = int(fields["in_chans"]), int(fields["num_classes"])
        self.divisor = int(fields.get("width_divisor", 8))
        dimensions = [_ordered("image_size", fields["image_size"]), _ordered("stem.width", fields["stem"]["width"])]
        for i, stage in enumerate(fields["stages"]):
            dimensions += _stage_dimensions(i, stage)
        dimensions.append(_ordered("head.features", fields["head"]["features"]))
        for dimension in dimensions:
            _check_choices(dimension)
        dimensions += _recipe_dimensions(fields.get("recipe") or {})
        super().__init__(str(fields["name"]), dimensions)
        self._place = {d.name: i for i, d in enumerate(self.dimensions)}
        self._values = {
            d.name: np.array(d.choices) for d in self.dimensions if not d.name.startswith("recipe.")
        }  # index to number
        # For stages that can have depth 1: position of the depth, its index for 1, positions that then have no effect.
        self._idle = [
            (self._place[f"{i}.depth"], self.dimensions[self._place[f"{i}.depth"]].choices.index(1), places)
            for i in range(len(fields["stages"]))
            if 1 in self.dimensions[self._place[f"{i}.depth"]].choices
            and (
                places := [
                    p for k in ("kernel_rest", "expansion_rest") if (p := self._place.get(f"{i}.{k}")) is not None
                ]
            )
        ]

        widths = ["stem.width", *(f"{i}.width" for i in range(len(fields["stages"])))]
        self._first_of_equals = {
            self._place[name]: np.unique(rounded, return_index=True)[1][np.unique(rounded, return_inverse=True)[1]]
            for name in widths
            if len(np.unique(rounded := self._rounded(self._values[name]))) < len(self._values[name])
        }  # for widths that round to the same value
        self._declared = repr(data)  # dimensions have the order of the keys

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, StageSpace) and other._declared == self._declared

    def __hash__(self) -> int:
        return hash(self._declared)

    # What a member is.

    def image_size(self, arch: Arch) -> int:
        """The side of the square training images."""
        return int(self._number(arch, "image_size"))

    def network_spec(self, arch: Arch, in_chans: int | None = None, num_classes: int | None = None) -> NetworkSpec:
        """The network spec (JSON); drop rates are those of the recipe."""
        recipe = self.recipe(arch)
        spec: NetworkSpec = {
            "builder": "mobilenetv3",
            "arch_def": [
                self._stage_blocks(arch, i, s["type"], s["stride"]) for i, s in enumerate(self.data["stages"])
            ],
            "stem_size": int(self._number(arch, "stem.width")),
            "num_features": int(self._number(arch, "head.features")),
            "head_bias": bool(self.data.get("head_bias", True)),
            "drop_rate": float(recipe.get("dropout", 0.0)),
            "drop_path_rate": float(recipe.get("drop_path", 0.0)),
            "in_chans": self.in_chans if in_chans is None else in_chans,
            "num_classes": self.num_classes if num_classes is None else num_classes,
        }
        width = int(
            round_width(self._number(arch, f"{len(self.data['stages']) - 1}.width"), self.divisor, WIDTH_ROUND_LIMIT)
        )
        final = int(round_width(width * self.data["head"]["expansion"], self.divisor, WIDTH_ROUND_LIMIT))
        spec["arch_def"].append([f"cn_r1_k1_s1_c{final}"])
        if self.divisor != 8:
            spec["width_divisor"] = self.divisor
        if "act" in self.data:
            spec["act"] = self.data["act"]
        return spec

    def recipe(self, arch: Arch) -> dict[str, Choice]:
        """The recipe overrides: what the space searches, and nothing else; empty if it has no recipe."""
        names = [d.name for d in self.dimensions if d.name.startswith("recipe.")]
        if not names:
            return {}
        recipe = {n.removeprefix("recipe."): self._choice(arch, n) for n in names}
        optimizers = (self.data.get("recipe") or {}).get("optimizer")
        if isinstance(optimizers, dict) and "lr" in recipe:
            recipe["lr"] = float(f"{self._number(arch, 'recipe.lr') * optimizers[str(recipe['optimizer'])]:.6g}")
        return recipe

    def describe(self, arch: Arch) -> dict[str, Choice]:
        """The choice of every dimension by name."""
        return {d.name: d.choices[i] for d, i in zip(self.dimensions, arch, strict=True)}

    def find(self, choices: Mapping[str, Choice]) -> Arch:
        """The member with these choices, the first one where none is given: the inverse of ``describe``."""
        check_keys("the choices", choices, tuple(self._place))
        try:
            arch = tuple(d.choices.index(choices[d.name]) if d.name in choices else 0 for d in self.dimensions)
        except ValueError as error:
            raise ValueError(f"space '{self.name}' has no such choice: {error}") from error
        return self.canonical(arch)

    # Counting.

    def canonical(self, arch: Arch) -> Arch:
        """The representative of the members that are this network; fast for one member."""
        if self._first_of_equals:
            return super().canonical(arch)
        idle = [
            place for depth, single, places in self._idle if arch[depth] == single for place in places if arch[place]
        ]
        if not idle:
            return arch
        out = list(arch)
        for place in idle:
            out[place] = 0
        return tuple(out)

    def canonical_indices(self, indices: Ints) -> Ints:
        """The rows of the representatives."""
        out = indices.copy()
        for place, first in self._first_of_equals.items():
            out[:, place] = first[out[:, place]]
        for depth, single, places in self._idle:
            rows = out[:, depth] == single
            for place in places:
                out[rows, place] = 0
        return out

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs, shape [len(archs)]."""
        return self.counts(as_indices(archs))[0]

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Weights, shape [len(archs)]."""
        return self.counts(as_indices(archs))[1]

    def counts(self, indices: Ints) -> tuple[Ints, Ints]:
        """(MACs, weights), each of shape [n], for index rows of shape [n, dimensions]."""
        size = -(-self._column(indices, "image_size") // 2)
        width = self._rounded(self._column(indices, "stem.width"))
        weights = 9 * self.in_chans * width
        macs = size**2 * weights
        for i, stage in enumerate(self.data["stages"]):
            out = self._rounded(self._column(indices, f"{i}.width"))
            rest = self._column(indices, f"{i}.depth") - 1
            after = -(-size // int(stage["stride"]))
            first = self._block(indices, i, stage["type"], "", width, out, size, after)
            more = self._block(indices, i, stage["type"], "_rest", out, out, after, after)
            macs, weights = macs + first[0] + rest * more[0], weights + first[1] + rest * more[1]
            size, width = after, out
        features = self._column(indices, "head.features")
        final = self._rounded(width * self.data["head"]["expansion"])
        tail = final * features + features * self.num_classes
        return macs + size**2 * width * final + tail, weights + width * final + tail

    def _block(
        self, indices: Ints, i: int, kind: str, which: str, width: Ints, out: Ints, size: Ints, after: Ints
    ) -> tuple[Ints, Ints]:
        """(MACs, weights) of one block from ``size`` to ``after``."""
        kernel = self._of_block(indices, i, "kernel", which)
        expansion = self._of_block(indices, i, "expansion", which) if kind == "ir" else np.ones_like(width)
        inner = expanded_width(width, expansion) if kind == "ir" else width
        expand = width * inner if kind == "ir" else np.zeros_like(width)
        ratio = self._column(indices, f"{i}.se")
        squeeze = np.where(ratio > 0, 2 * inner * se_width(inner, ratio, expansion), 0)
        rest = inner * (kernel**2 + out)
        return size**2 * expand + after**2 * rest + squeeze, expand + rest + squeeze

    def _of_block(self, indices: Ints, i: int, key: str, which: str) -> Ints:
        name = f"{i}.{key}{which}"
        return self._column(indices, name if name in self._place else f"{i}.{key}")

    def _column(self, indices: Ints, name: str) -> Ints:
        found: Ints = self._values[name][indices[:, self._place[name]]]
        return found

    def _rounded(self, width: Numbers) -> Ints:
        return round_width(width, self.divisor, WIDTH_ROUND_LIMIT)

    def _choice(self, arch: Arch, name: str) -> Choice:
        place = self._place[name]
        return self.dimensions[place].choices[arch[place]]

    def _number(self, arch: Arch, name: str) -> Number:
        place = self._place[name]
        return self.dimensions[place].numbers[arch[place]]

    def _stage_blocks(self, arch: Arch, i: int, kind: str, stride: int) -> list[str]:
        depth, width = int(self._number(arch, f"{i}.depth")), self._number(arch, f"{i}.width")
        ratio = self._number(arch, f"{i}.se")
        squeeze = f"_se{ratio:g}" if ratio else ""

        def block(which: str, repeat: int, step: int) -> str:
            values = [
                self._number(arch, f"{i}.{key}{which}" if f"{i}.{key}{which}" in self._place else f"{i}.{key}")
                for key in ("kernel", "expansion")
            ]
            return f"{kind}_r{repeat}_k{values[0]}_s{step}_e{values[1]:g}_c{width}{squeeze}"

        return [block("", 1, stride)] + ([block("_rest", depth - 1, 1)] if depth > 1 else [])


def _stage_dimensions(i: int, stage: StageFields) -> list[Dimension]:
    where = f"stage {i}"
    check_section(where, stage, ("type", "stride", "kernel", "depth", "width"), STAGE_KEYS)
    if stage["type"] not in ("ds", "ir"):
        raise ValueError(f"{where}: type {stage['type']!r} is not known; allowed: ds, ir")
    if stage["stride"] not in (1, 2):
        raise ValueError(f"{where}: stride {stage['stride']!r} is not possible; allowed: 1, 2")
    found: dict[str, object] = {"expansion": 1, "se": 0} | {
        k: v for k, v in stage.items() if k not in ("type", "stride")
    }
    if stage["type"] == "ds" and (found["expansion"] != 1 or "expansion_rest" in found):
        raise ValueError(f"{where}: ds blocks have no expansion; use type ir")
    order = [k for k in STAGE_KEYS if k in found]
    dimensions = [_ordered(f"{i}.{k}", found[k]) for k in order]
    for d in dimensions:
        if d.name.endswith(("kernel", "kernel_rest")) and any(c % 2 == 0 for c in d.numbers):
            raise ValueError(f"{where}: kernels must be odd, not {list(d.choices)}")
    return dimensions


def _check_choices(dimension: Dimension) -> None:
    """Sizes and counts are whole numbers of at least 1, expansions numbers of at least 1, squeeze ratios from 0 to 1."""
    kind, shown = dimension.name.rpartition(".")[2], list(dimension.numbers)
    if kind == "se":
        if min(shown) < 0 or max(shown) > 1:
            raise ValueError(f"{dimension.name}: ratios must be from 0 to 1, not {shown}")
    elif min(shown) < 1:
        raise ValueError(f"{dimension.name} must be at least 1, not {shown}")
    elif not kind.startswith("expansion") and any(type(choice) is not int for choice in shown):
        raise ValueError(f"{dimension.name}: choices must be whole numbers, not {shown}")


def _recipe_dimensions(recipe: RecipeFields) -> list[Dimension]:
    check_keys("the recipe", recipe, RECIPE_KEYS)
    if recipe and ("optimizer" not in recipe or "lr" not in recipe):
        raise ValueError("the recipe needs at least 'optimizer' and 'lr'")
    dimensions = []
    for key, value in recipe.items():
        if key == "optimizer":
            named = recipe["optimizer"]
            factors = named.values() if isinstance(named, dict) else ()
            if not named or not all(is_number(factor) and factor > 0 for factor in factors):
                raise ValueError(
                    f"recipe.optimizer is {named!r}; names, or names with a factor above 0 of the learning rate"
                )
            dimensions.append(Dimension("recipe.optimizer", (named,) if isinstance(named, str) else tuple(named)))
        else:
            choices = _choices(f"recipe.{key}", value)
            dimensions.append(Dimension(f"recipe.{key}", choices, True, key in LOG_RECIPE and min(choices) > 0))
    return dimensions


def _ordered(name: str, value: object) -> Dimension:
    return Dimension(name, _choices(name, value), ordered=True)


def _choices(name: str, value: object) -> tuple[Number, ...]:
    if isinstance(value, dict):
        if (
            set(value) != {"min", "max", "step"}
            or not all(map(is_number, value.values()))
            or value["step"] <= 0
            or value["max"] < value["min"]
        ):
            raise ValueError(f"{name}: a range is {{min, max, step}} with min <= max and step > 0, not {value}")
        steps = round((value["max"] - value["min"]) / value["step"] - 0.499999)
        return tuple(_plain(value["min"] + i * value["step"]) for i in range(steps + 1))
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not values or not all(map(is_number, values)):
        raise ValueError(f"{name}: choices must be numbers, not {value!r}")
    if list(values) != sorted(set(values)):
        raise ValueError(f"{name}: choices must rise, not {list(values)}")
    return values


def _plain(value: float) -> float:
    """An int as it is, a float without the dust of repeated addition."""
    return value if isinstance(value, int) else float(f"{value:.9g}")
