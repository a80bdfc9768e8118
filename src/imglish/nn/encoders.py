"""The small vision encoder of our own: a convolutional stem, a few transformer blocks, a dense head that can be read.

`Sight` sees in two scales: tokens (stride 16, with context of the whole picture) and a map (stride 8). Linear heads on
the map say what is in every cell: class, colour, box, a 4 x 4 mask, two characters. `describe` turns these readings
back into features (expected embeddings, Fourier codes of the boxes), so that the language model is handed what was
read and not only how it looked. The dense head is what makes the encoder trainable in minutes: every cell of every
picture teaches it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

SUBCELLS = 2  # map cells along each side of a token
SLOTS = 2  # characters read in one cell, side by side
MASK = 4  # mask bits along each side of a cell
BOX = 0.2  # what a reading of 1 is, as a share of the picture
ALIKE, FILLED = (
    0.06,
    0.25,
)  # how near boxes of one thing are, as a share of the picture; how much of it is seen at least


class SightConfig(PretrainedConfig):
    """Sizes and vocabularies of `Sight`. `classes[0]`, `letters[0]` and `marks[0]` stand for "nothing here"."""

    model_type = "imglish_sight"

    def __init__(
        self,
        image_size: int = 192,
        widths: tuple[int, int, int, int] = (24, 48, 128, 256),
        blocks: tuple[int, int, int] = (1, 2, 1),
        layers: int = 3,
        heads: int = 4,
        map_size: int = 128,
        classes: tuple[str, ...] = ("",),
        colours: tuple[str, ...] = ("",),
        letters: tuple[str, ...] = ("",),
        marks: tuple[str, ...] = ("",),
        class_size: int = 24,
        colour_size: int = 8,
        letter_size: int = 24,
        mark_size: int = 6,
        octaves: int = 5,
        middles: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size, self.widths, self.blocks = image_size, list(widths), list(blocks)
        self.layers, self.heads, self.map_size = layers, heads, map_size
        self.classes, self.colours = list(classes), list(colours)
        self.letters, self.marks = list(letters), list(marks)
        self.class_size, self.colour_size = class_size, colour_size
        self.letter_size, self.mark_size, self.octaves = letter_size, mark_size, octaves
        self.middles = middles

    @property
    def grid(self) -> int:
        """Tokens along each side."""
        return self.image_size // 16

    @property
    def cell_size(self) -> int:
        """Features that `describe` makes of one map cell."""
        boxes = 4 + 4 * 2 * self.octaves
        middle = (1 + self.class_size + SLOTS) * self.middles
        text = SLOTS * (self.letter_size + self.mark_size)
        return 1 + self.class_size + self.colour_size + boxes + MASK**2 + text + middle

    @property
    def hidden_size(self) -> int:
        """Features of one token, as the adapter gets them."""
        return int(self.widths[3]) + SUBCELLS**2 * self.cell_size


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Codes(nn.Linear):
    """A vector for each name; given probabilities, their mean. As large as the other features, or nobody hears it."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a skip; BatchNorm, which folds away and is fast in channels-last bf16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return F.relu(features + self.second(self.first(features)))


class Block(nn.Module):
    """A pre-norm transformer block with plain attention: at 144 tokens it beats the fused kernel on CPU in bf16."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to the same shape."""
        batch, count, width = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5).softmax(-1)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).reshape(batch, count, width)
        tokens = tokens + self.out(mixed)
        return tokens + self.down(F.gelu(self.up(self.norm2(tokens))))


class Sight(PreTrainedModel):
    """Pictures (B, 3, S, S), normalised to mean 0 and deviation 1, to token features (B, (S/16)^2, hidden_size)."""

    config_class = SightConfig
    main_input_name = "pixel_values"
    _no_split_modules: ClassVar[list[str]] = ["Block"]

    def __init__(self, config: SightConfig) -> None:
        super().__init__(config)
        w0, w1, w2, w3 = config.widths
        b1, b2, b3 = config.blocks
        self.stem = nn.Sequential(
            _conv(3, w0, 2), _conv(w0, w1, 2), *[Residual(w1) for _ in range(b1)],
            _conv(w1, w2, 2), *[Residual(w2) for _ in range(b2)],
        )  # fmt: skip
        self.deep = nn.Sequential(_conv(w2, w3, 2), *[Residual(w3) for _ in range(b3)])
        self.position = nn.Parameter(torch.randn(1, config.grid**2, w3) * 0.02)
        self.blocks = nn.ModuleList(Block(w3, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(w3)
        self.context = nn.Linear(w3, SUBCELLS**2 * w2)
        self.fuse = _conv(w2, config.map_size)
        self.read = nn.Linear(config.map_size, sum(self.parts.values()))
        self.class_codes = Codes(len(config.classes), config.class_size, bias=False)
        self.colour_codes = Codes(len(config.colours), config.colour_size, bias=False)
        self.letter_codes = Codes(len(config.letters), config.letter_size, bias=False)
        self.mark_codes = Codes(len(config.marks), config.mark_size, bias=False)
        self.register_buffer("octaves", 2.0 ** torch.arange(config.octaves) * torch.pi, persistent=False)
        self.register_buffer("centres", self._cell_centres(), persistent=False)
        self.post_init()

    @property
    def parts(self) -> dict[str, int]:
        """What the dense head reads in one cell, and how many numbers each reading takes."""
        config = self.config
        return {
            "class": len(config.classes), "colour": len(config.colours), "box": 4, "mask": MASK**2,
            "letter": SLOTS * len(config.letters), "mark": SLOTS * len(config.marks),
        }  # fmt: skip

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Codes):
            nn.init.normal_(module.weight)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight) if isinstance(module, nn.Conv2d) else nn.init.trunc_normal_(
                module.weight, std=module.in_features**-0.5
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Sight):
            module.octaves = 2.0 ** torch.arange(self.config.octaves) * torch.pi
            module.centres = self._cell_centres()

    def _cell_centres(self) -> Tensor:
        """(cells, 2) x, y of each map cell's centre, 0 to 1, row by row."""
        side = self.config.grid * SUBCELLS
        line = (torch.arange(side) + 0.5) / side
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        return torch.stack((columns, rows), -1).view(-1, 2)

    def see(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, C) and the map (B, 4N, M), row by row: what the picture looks like, not yet in words."""
        fine = self.stem(pixel_values.contiguous(memory_format=torch.channels_last))
        deep = self.deep(fine)
        batch, _, side, _ = deep.shape
        tokens = deep.flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        context = self.context(tokens).transpose(1, 2).reshape(batch, -1, side, side)
        dense = self.fuse(F.relu(fine + F.pixel_shuffle(context, SUBCELLS)))
        return tokens, dense.flatten(2).transpose(1, 2)

    def readings(self, dense: Tensor) -> dict[str, Tensor]:
        """What each cell holds, (B, cells, ...): logits of class, colour, mask, letter, mark; `box` as distances."""
        parts = dict(zip(self.parts, self.read(dense).split(list(self.parts.values()), -1), strict=True))
        for name in ("letter", "mark"):
            parts[name] = parts[name].unflatten(-1, (SLOTS, -1))
        return parts

    def boxes(self, distances: Tensor) -> Tensor:
        """(B, cells, 4) xyxy from 0 to 1, from left, top, right, bottom distances to each cell's centre."""
        left_top, right_bottom = (distances.float() * BOX).chunk(2, -1)
        return torch.cat((self.centres - left_top, self.centres + right_bottom), -1)

    def middle_of(self, boxes: Tensor, probability: Tensor) -> Tensor:
        """(B, cells, 1) how much of the middle of its thing a cell is; over all cells of one thing it adds up to 1.

        Cells of one class that read the same box are of one thing. Most goes to the cell nearest the middle of that
        box, and nothing where too few cells stand behind a box: so every thing stands out once, however large it is,
        and can be counted and listed.
        """
        boxes, present = boxes.float(), 1 - probability[..., 0]
        sides = boxes.unflatten(-1, (2, 2))
        count = len(self.centres)
        near = present * (-2 * (sides.mean(-2) - self.centres).norm(dim=-1) * count**0.5).exp()
        names = F.normalize(probability[..., 1:], dim=-1)
        alike = (torch.cdist(boxes, boxes) / ALIKE).square().mul(-0.5).exp() * (names @ names.transpose(1, 2))
        together, behind = (alike @ torch.stack((near, present), -1)).unbind(-1)
        area = ((sides[..., 1, :] - sides[..., 0, :]).prod(-1) * count).clamp(min=1)
        stands = ((behind / area - FILLED) * 30).sigmoid()
        return (near / together.clamp(min=1e-5) * present * stands).unsqueeze(-1)

    def describe(self, tokens: Tensor, dense: Tensor) -> Tensor:
        """(B, N, hidden_size): the tokens, each with what was read in its four cells."""
        read = self.readings(dense)
        dtype = self.class_codes.weight.dtype
        probability = read["class"].float().softmax(-1)
        present = 1 - probability[..., :1]
        boxes = self.boxes(read["box"])
        angles = (boxes.unsqueeze(-1) * self.octaves).flatten(-2)
        geometry = torch.cat((boxes, angles.sin(), angles.cos(), read["mask"].float().sigmoid()), -1) * present
        letters = self.letter_codes(read["letter"].float().softmax(-1).to(dtype)).flatten(-2)
        marks = self.mark_codes(read["mark"].float().softmax(-1).to(dtype)).flatten(-2)
        colour = self.colour_codes(read["colour"].float().softmax(-1).to(dtype)) * present
        names = self.class_codes(probability.to(dtype))
        parts = [present, names, colour, geometry, letters, marks]
        if self.config.middles:
            middle = self.middle_of(boxes, probability).to(dtype)
            written = 1 - read["letter"].float().softmax(-1)[..., 0]
            parts += [middle, middle * names, written.to(dtype)]
        cells = torch.cat(parts, -1)
        side = self.config.grid
        cells = cells.view(len(cells), side, SUBCELLS, side, SUBCELLS, -1).transpose(2, 3).flatten(3)
        return torch.cat((tokens, cells.flatten(1, 2).to(tokens.dtype)), -1)

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        """`last_hidden_state` is (B, N, hidden_size)."""
        return BaseModelOutput(last_hidden_state=self.describe(*self.see(pixel_values)))
