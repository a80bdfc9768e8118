"""Fuyu's image processor of transformers, with what breaks when its processor calls it set right."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import FuyuImageProcessorPil

from imglish.core.types import Size


class Pictures(FuyuImageProcessorPil):
    """`patchify_image` takes and gives tensors, too: the stock one raises TypeError on what the processor hands it."""

    def patchify_image(self, image: Any, patch_size: Any = None) -> Any:
        """Patches (1, patches, values) or (patches, values), in reading order."""
        if not isinstance(image, torch.Tensor):
            return super().patchify_image(image, patch_size=patch_size)
        patches = super().patchify_image(image.numpy(), patch_size=patch_size)
        return torch.from_numpy(patches.copy())

    def resize(self, image: np.ndarray, size: Any, resample: Any = None, **kwargs: Any) -> np.ndarray:
        """A side is at least one pixel, also of a line a thousand times as long as it is wide."""
        height, width = image.shape[-2:]
        if width <= size.width and height <= size.height:
            return image
        scale = min(size.height / height, size.width / width)
        if min(height, width) * scale >= 1:
            return super().resize(image, size, resample=resample, **kwargs)
        inner = type(size)(height=max(1, int(height * scale)), width=max(1, int(width * scale)))
        return super(FuyuImageProcessorPil, self).resize(image, inner, resample=resample)

    def patches(self, picture: Any, *, frame: Size) -> torch.Tensor:
        """Patches (patches, values) of one picture in its frame, as the processor cuts them out of 1920 x 1080."""
        given = self(images=[picture], do_pad=False)["images"][0][0]
        image = np.asarray(given, dtype=np.float32)
        filled = np.full((1, 1, 1), self.padding_value, dtype=np.float32)
        filled = self.normalize(self.rescale(filled, self.rescale_factor), self.image_mean, self.image_std)
        whole = np.full((image.shape[0], frame[1], frame[0]), np.float32(filled[0, 0, 0]), dtype=np.float32)
        whole[:, : image.shape[1], : image.shape[2]] = image
        return torch.from_numpy(np.ascontiguousarray(self.patchify_image(whole)))


Pictures.__name__ = "FuyuImageProcessorPil"  # a saved checkpoint names the stock class
