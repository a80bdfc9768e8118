"""What every adapter is: a module that turns the tokens of one grid into the tokens of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from imglish.core.errors import InputError

Grid = tuple[int, int]  # rows, columns


class Adapter(nn.Module):
    """Takes features (batch, rows * columns, in_dim) and gives (batch, tokens, out_dim).

    A subclass hands its `out_grid` over and defines `adapt`, which may count on the shape of what it is given.
    """

    def __init__(self, in_dim: int, out_dim: int, *, grid: Sequence[int], out_grid: Sequence[int]) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        self.grid: Grid = pair(grid, "grid")
        self.out_grid: Grid = pair(out_grid, "out_grid")

    @property
    def tokens(self) -> int:
        """How many tokens come out for one image."""
        return self.out_grid[0] * self.out_grid[1]

    def forward(self, features: Tensor) -> Tensor:
        """Features of the tokens in reading order, in and out."""
        rows, columns = self.grid
        if features.shape[1:] != (rows * columns, self.in_dim):
            raise InputError(
                f"{type(self).__name__} was given {features.shape[1]} tokens of width {features.shape[2]}; "
                f"it takes {rows * columns} ({rows} x {columns}) of width {self.in_dim}",
                hint="set vision_grid and drop_cls of the configuration to what the vision model gives",
            )
        tokens: Tensor = self.adapt(features)
        return tokens

    def adapt(self, features: Tensor) -> Any:
        """The work itself."""
        raise NotImplementedError


def pair(value: Sequence[int], name: str) -> Grid:
    """Two positive whole numbers (rows, columns), also from the list that JSON makes of a tuple."""
    numbers = tuple(value)
    if len(numbers) != 2 or not all(isinstance(number, int) and number > 0 for number in numbers):
        raise InputError(f"{name} is {value!r}; it is two positive whole numbers: rows, columns")
    return numbers[0], numbers[1]


def divide(grid: Sequence[int], window: Sequence[int]) -> Grid:
    """The grid of windows; raises InputError where windows do not fill the grid exactly."""
    (rows, columns), (high, wide) = pair(grid, "grid"), pair(window, "window")
    if rows % high or columns % wide:
        raise InputError(
            f"a grid of {rows} x {columns} tokens cannot be cut into windows of {high} x {wide}",
            hint="choose a window whose sides divide the sides of the grid",
        )
    return rows // high, columns // wide


def gather(features: Tensor, grid: Grid, window: Grid) -> Tensor:
    """Windows of tokens: (batch, rows * columns, dim) -> (batch, windows, tokens of a window in reading order, dim)."""
    (rows, columns), (high, wide) = grid, window
    batch, _, dim = features.shape
    cells = features.reshape(batch, rows // high, high, columns // wide, wide, dim).transpose(2, 3)
    return cells.reshape(batch, (rows // high) * (columns // wide), high * wide, dim)


def mlp(in_dim: int, hidden: int, out_dim: int) -> nn.Sequential:
    """Linear, GELU, linear."""
    return nn.Sequential(nn.Linear(in_dim, hidden), nn.GELU(), nn.Linear(hidden, out_dim))
