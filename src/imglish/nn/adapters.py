"""Adapters: how the tokens of a vision encoder become tokens of a language model.

| name | tokens out | from |
|---|---|---|
| linear | as many as in | LLaVA (Liu et al. 2023, arXiv:2304.08485) |
| mlp | as many as in | LLaVA 1.5 (arXiv:2310.03744) |
| concat | one per window of neighbours, laid side by side | MiniGPT-v2 (Chen et al. 2023, arXiv:2310.09478) |
| pixel_shuffle | one per square of neighbours | Idefics3 (Laurencon et al. 2024, arXiv:2408.12637) |
| pool | one per window, the mean of it | LLaVA-Video (arXiv:2410.02713) |
| reader | those of `mlp`, then a token for every thing, letter and point of an outline | ours, `reader.py` |
| resampler | a fixed number, by cross-attention | Flamingo (arXiv:2204.14198), Qwen-VL (arXiv:2308.12966) |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from imglish.core.errors import InputError, UnknownName
from imglish.nn._adapter import Adapter, divide, gather, mlp, pair
from imglish.nn.reader import Reader
from imglish.nn.resampler import Resampler


class Linear(Adapter):
    """One linear layer per token."""

    def __init__(self, in_dim: int, out_dim: int, *, grid: Sequence[int]) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=grid)
        self.project = nn.Linear(in_dim, out_dim)

    def adapt(self, features: Tensor) -> Any:
        return self.project(features)


class Mlp(Adapter):
    """Two linear layers with a GELU between them, per token; `hidden` is out_dim where it is not given."""

    def __init__(self, in_dim: int, out_dim: int, *, grid: Sequence[int], hidden: int | None = None) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=grid)
        self.project = mlp(in_dim, hidden or out_dim, out_dim)

    def adapt(self, features: Tensor) -> Any:
        return self.project(features)


class Concat(Adapter):
    """The tokens of a window side by side, in reading order, then one linear layer, or two with `hidden`."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        grid: Sequence[int],
        window: Sequence[int] = (2, 2),
        hidden: int | None = None,
    ) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=divide(grid, window))
        self.window = pair(window, "window")
        wide = in_dim * self.window[0] * self.window[1]
        self.project = mlp(wide, hidden, out_dim) if hidden else nn.Linear(wide, out_dim)

    def adapt(self, features: Tensor) -> Any:
        return self.project(gather(features, self.grid, self.window).flatten(2))


class PixelShuffle(Adapter):
    """Space to depth by `ratio`, then one linear layer; channels in the order of Idefics3, so its weights fit."""

    def __init__(self, in_dim: int, out_dim: int, *, grid: Sequence[int], ratio: int = 2, bias: bool = False) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=divide(grid, (ratio, ratio)))
        self.ratio = ratio
        self.project = nn.Linear(in_dim * ratio**2, out_dim, bias=bias)

    def adapt(self, features: Tensor) -> Any:
        return self.project(gather(features, self.grid, (self.ratio, self.ratio)).flatten(2))


class Pool(Adapter):
    """The mean of every window; a linear layer follows only where the widths differ, else nothing is learned."""

    def __init__(self, in_dim: int, out_dim: int, *, grid: Sequence[int], window: Sequence[int] = (2, 2)) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=divide(grid, window))
        self.window = pair(window, "window")
        self.project: nn.Module = nn.Identity() if in_dim == out_dim else nn.Linear(in_dim, out_dim)

    def adapt(self, features: Tensor) -> Any:
        return self.project(gather(features, self.grid, self.window).mean(2))


ADAPTERS: Mapping[str, type[Adapter]] = {
    "linear": Linear,
    "mlp": Mlp,
    "concat": Concat,
    "pixel_shuffle": PixelShuffle,
    "pool": Pool,
    "reader": Reader,
    "resampler": Resampler,
}


def build_adapter(
    name: str, in_dim: int, *, out_dim: int, grid: Sequence[int], options: Mapping[str, Any] | None = None
) -> Adapter:
    """The adapter of that name. Raises UnknownName, or InputError for an option that it does not have."""
    if name not in ADAPTERS:
        raise UnknownName("adapter", name, ADAPTERS)
    kind: Any = ADAPTERS[name]
    try:
        adapter: Adapter = kind(in_dim, out_dim, grid=grid, **(options or {}))
    except TypeError as error:
        raise InputError(f"adapter {name!r} cannot be built with {dict(options or {})}: {error}") from error
    return adapter
