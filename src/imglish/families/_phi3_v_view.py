"""How Phi-3-vision sees a picture: the HD transform, which is the whole in one tile and then the tiles of it, enlarged.

After InternLM-XComposer2-4KHD (Dong et al. 2024, arXiv:2404.06512), with the arithmetic of the published processor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.frames import Fitted
from imglish.core.types import Size

if TYPE_CHECKING:
    import torch
    from PIL import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SINGLE = 16  # tiles of a single image, where the checkpoint has so few as for many


@dataclass(frozen=True)
class HD:
    """The picture is enlarged or shrunk to the most tiles of its shape, and padded along its shorter side.

    A tile is `side` pixels wide and becomes `half` x `half` tokens: patches of 14 pixels, merged 2 x 2.
    """

    most: int = SINGLE
    side: int = 336
    half: int = 12

    def fit(self, size: Size) -> Fitted:
        """Scales, padding and grid (columns, rows). `tiles` counts the whole picture in one tile, too."""
        turned = size[0] < size[1]
        width, height = size[::-1] if turned else size
        ratio = width / height
        columns = 1
        while (columns + 1) * math.ceil((columns + 1) / ratio) <= self.most:
            columns += 1
        inner = (columns * self.side, max(1, int(columns * self.side / ratio)))
        rows = math.ceil(inner[1] / self.side)
        top = (rows * self.side - inner[1]) // 2
        scales, pads, grid = (inner[0] / width, inner[1] / height), (0, top), (columns, rows)
        if turned:
            scales, pads, grid = scales[::-1], pads[::-1], grid[::-1]
        frame = (grid[0] * self.side, grid[1] * self.side)
        return Fitted(size, frame, *scales, *pads, tiles=1 + columns * rows, grid=grid)

    def tokens(self, size: Size) -> int:
        """Tokens of a picture: its tiles' and the whole's, one after each row of them, one between the two."""
        columns, rows = self.fit(size).grid
        return (columns * rows + 1) * self.half**2 + 1 + (rows + 1) * self.half

    def apply(self, image: Image.Image, fitted: Fitted) -> Image.Image:
        """The RGB picture in its frame, on white. A picture that is higher than wide is turned for the resizing."""
        from PIL import Image, ImageOps

        inner = (round(fitted.original[0] * fitted.scale_x), round(fitted.original[1] * fitted.scale_y))
        if fitted.original[0] < fitted.original[1]:  # the order of the two passes shows in the last bit
            turn = Image.Transpose.TRANSPOSE
            resized = image.transpose(turn).resize(inner[::-1], Image.Resampling.BILINEAR).transpose(turn)
        else:
            resized = image.resize(inner, Image.Resampling.BILINEAR)
        left, top = int(fitted.pad_x), int(fitted.pad_y)
        border = (left, top, fitted.size[0] - inner[0] - left, fitted.size[1] - inner[1] - top)
        return ImageOps.expand(resized, border, fill=(255, 255, 255))


class ImageProcessor:
    """The published preprocessor_config.json, read and written without the code that it names."""

    def __init__(self, **values: Any) -> None:
        self.values = {"num_crops": SINGLE, "image_mean": MEAN, "image_std": STD, **values}

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ImageProcessor:
        """The processor of a checkpoint folder."""
        values = json.loads((Path(folder) / "preprocessor_config.json").read_text(encoding="utf-8"))
        return cls(**{name: value for name, value in values.items() if name != "auto_map"})

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes preprocessor_config.json."""
        text = json.dumps({"image_processor_type": "Phi3VImageProcessor", **self.values}, indent=2)
        (Path(folder) / "preprocessor_config.json").write_text(text + "\n", encoding="utf-8")

    def frame(self, *, alone: bool) -> HD:
        """How a picture is fitted that is `alone` in its conversation, or one of many.

        The card of Phi-3.5-vision asks for 16 tiles for one picture and 4 for many, and 4 is what its config has.
        """
        many = int(self.values["num_crops"])
        single = int(self.values.get("num_crops_single", SINGLE if many == 4 else many))
        return HD(single if alone else many, int(self.values.get("crop_size", 336)), self.half)

    @property
    def half(self) -> int:
        """Tokens along one side of a tile."""
        return math.isqrt(int(self.values.get("num_img_tokens", 144)))

    def tensors(self, image: Image.Image, fitted: Fitted, frame: HD) -> dict[str, torch.Tensor]:
        """`pixel_values` (tiles, 3, side, side), the whole picture first, and `image_sizes` (1, 2), height first."""
        import numpy as np
        import torch

        pixels = torch.from_numpy(np.array(frame.apply(image, fitted))).permute(2, 0, 1).float().div(255)
        mean, std = (torch.tensor(self.values[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
        pixels = (pixels - mean) / std
        side, (columns, rows) = frame.side, fitted.grid
        whole = torch.nn.functional.interpolate(pixels[None], (side, side), mode="bicubic")
        tiles = pixels.reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4).reshape(-1, 3, side, side)
        return {"pixel_values": torch.cat((whole, tiles)), "image_sizes": torch.tensor([fitted.size[::-1]])}
