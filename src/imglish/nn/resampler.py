"""A resampler: learned queries look at the image by cross-attention, so that any image costs the same few tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from imglish.core.errors import InputError
from imglish.nn._adapter import Adapter, Grid, mlp


class Resampler(Adapter):
    """`queries` learned tokens, `layers` blocks of cross-attention and MLP; where a token lies is told by sines.

    Positions enter the keys alone, as in Qwen-VL, so that what is read stays free of them.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        grid: Sequence[int],
        queries: int = 32,
        layers: int = 1,
        heads: int | None = None,
    ) -> None:
        super().__init__(in_dim, out_dim, grid=grid, out_grid=(1, queries))
        self.queries = nn.Parameter(torch.randn(queries, out_dim) * 0.02)
        self.project = nn.Linear(in_dim, out_dim)
        self.blocks = nn.ModuleList(Block(out_dim, heads or max(1, out_dim // 64)) for _ in range(layers))
        self.norm = nn.LayerNorm(out_dim)

    def adapt(self, features: Tensor) -> Any:
        values = self.project(features)
        keys = values + positions(self.grid, self.out_dim, device=values.device).to(values.dtype)
        tokens = self.queries.to(values.dtype).expand(len(values), -1, -1)
        for block in self.blocks:
            tokens = block(tokens, keys, values)
        return self.norm(tokens)


class Block(nn.Module):
    """Cross-attention, then a two-layer MLP, each normalised before and added to what came in."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(
                f"a resampler of width {dim} cannot have {heads} heads", hint="choose a divisor of the width"
            )
        self.heads = heads
        self.query_norm, self.key_norm, self.value_norm = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = mlp(dim, 4 * dim, dim)

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        seen = functional.scaled_dot_product_attention(
            self._split(self.query(self.query_norm(tokens))),
            self._split(self.key(self.key_norm(keys))),
            self._split(self.value(self.value_norm(values))),
        )
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        passed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return passed

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def positions(grid: Grid, dim: int, *, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of row and column, (rows * columns, dim) in float32; a rest of dim modulo four stays zero."""
    quarter = dim // 4
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(quarter, device=device) / max(1, quarter))
    rows, columns = (torch.arange(side, device=device)[:, None] * frequency for side in grid)
    row = torch.cat([rows.sin(), rows.cos()], 1)[:, None].expand(-1, grid[1], -1)
    column = torch.cat([columns.sin(), columns.cos()], 1)[None].expand(grid[0], -1, -1)
    return functional.pad(torch.cat([row, column], 2).flatten(0, 1), (0, dim - 4 * quarter))
