"""The codes of PaliGemma's masks: a vector-quantised autoencoder of 64 x 64 pixels (Ning et al., arXiv:2301.02229).

Its weights (`vae-oid.npz` of big_vision, trained on OpenImages) are not part of the published checkpoints. Where that
file lies in the checkpoint's folder, masks are read and written with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imglish.core.errors import CheckpointError
from imglish.core.geometry import Bitmap, Floats

FILES = ("vae-oid.npz", "vae-oid.safetensors")
SIDE = 64
_CODEBOOK = "_vq_vae._embedding"


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        shown: Tensor = self.net(x)
        return x + shown


class MaskCodec(nn.Module):
    """Masks to sixteen codes and back. The names of the weights are those of the published file."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        codes = weights[_CODEBOOK]
        width = weights["decoder.0.weight"].shape[0]
        inner = weights["encoder.6.weight"].shape[0]
        widths = [weights[f"encoder.{n}.weight"].shape[0] for n in (0, 2, 4, 6)]
        sizes = [weights[f"decoder.{n}.weight"].shape[1] for n in (4, 6, 8, 10)]
        down: list[nn.Module] = []
        for before, after in zip([1, *widths[:-1]], widths, strict=True):
            down += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        last = weights["encoder.10.weight"].shape[-1]
        self.encoder = nn.Sequential(
            *down, _Residual(inner), _Residual(inner), nn.Conv2d(inner, codes.shape[1], last, padding=last // 2)
        )
        up: list[nn.Module] = []
        for before, after in zip([width, *sizes[:-1]], sizes, strict=True):
            up += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(
            nn.Conv2d(codes.shape[1], width, 1), nn.ReLU(), _Residual(width), _Residual(width), *up,
            nn.Conv2d(sizes[-1], 1, 1),
        )  # fmt: skip
        self.codebook = nn.Parameter(torch.empty_like(codes))
        given = {"codebook" if name == _CODEBOOK else name: value for name, value in weights.items()}
        own = self.state_dict().keys()
        self.load_state_dict({name: value for name, value in given.items() if name in own or "_vq_vae" not in name})
        self.requires_grad_(requires_grad=False).eval()

    @torch.inference_mode()
    def decode(self, codes: Sequence[int]) -> Floats:
        """(64, 64) numbers, above 0 where the thing is."""
        grid = self.codebook[torch.tensor(list(codes))].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
        mask: Floats = self.decoder(grid)[0, 0].double().numpy()
        return mask

    @torch.inference_mode()
    def encode(self, mask: Bitmap) -> tuple[int, ...]:
        """The sixteen codes of a (64, 64) mask."""
        shown = torch.from_numpy(np.asarray(mask, dtype=np.float32))[None, None] * 2 - 1
        found = self.encoder(shown).permute(0, 2, 3, 1).reshape(16, -1)
        return tuple(torch.cdist(found, self.codebook).argmin(1).tolist())


def read_mask_codec(folder: str | Path) -> MaskCodec | None:
    """The codec of a checkpoint's folder, or None where there is none. Raises CheckpointError where it is damaged."""
    path = next((Path(folder) / name for name in FILES if (Path(folder) / name).is_file()), None)
    if path is None:
        return None
    try:
        return MaskCodec(_read(path))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"cannot read the mask codec {path}: {error}") from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = dict(file)
        return {name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in arrays.items()}
    from safetensors.torch import load_file

    return load_file(path)
