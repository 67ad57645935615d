"""Functions of torch that are replaced while a block runs, without a change to the network that calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode


class Replaced(TorchFunctionMode):
    """While the block runs, each function of the table is replaced by its entry; inside of that, it is torch's own.

    ``torch.compile`` traces the replacements as it traces what calls them.
    """

    def __init__(self, replacements: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self._replacements = dict(replacements)

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """See :class:`torch.overrides.TorchFunctionMode`."""
        chosen: Callable[..., object] = self._replacements.get(func, func)
        return chosen(*args, **(kwargs or {}))
