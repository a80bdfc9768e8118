"""Film for Qwen-VL without torchvision: two frames a patch, as these models were trained, from the picture processor.

Frames sent as pictures would cost twice the tokens, and would be told to the model as pictures at one moment each;
so film goes in as `pixel_values_videos` and `video_grid_thw`. Each frame's patches come from the image processor, which
writes every patch twice in time; of two frames, the first gives the earlier half and the second the later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imglish.core.frames import Fitted, Resized
from imglish.families._base import Frames, Loaded
from imglish.families._hub import View

if TYPE_CHECKING:
    import torch
    from PIL import Image

TOKEN = "<|video_pad|>"
FPS = 2.0  # frames a second of a film that does not say: the rate at which the reference samples

# qwen-vl-utils, vision_process.py: bounds of one frame in tokens, of all frames as a share of the context
FEWEST, MOST, CONTEXT = 128, 768, 0.9 * 128_000


@dataclass(frozen=True)
class Clip(Frames):
    """Frames that the model sees as one film, or as one moment of it; `total` are the frames of the whole film."""

    fps: float = FPS
    total: int = 2


@dataclass(frozen=True)
class Unseen(View):
    """A frame that waits until it is known which film it belongs to."""

    picture: Any = None


def unseen(picture: Image.Image) -> Unseen:
    """The frame as it is."""
    return Unseen(Fitted(picture.size, picture.size), (), {}, 1, picture)


def look(loaded: Loaded, clip: Clip, views: list[View], *, timed: bool) -> None:
    """Puts the views of a clip's frames in their places: the tokens of a pair stand at its first frame."""
    import torch

    pictures = loaded.processor.image_processor
    first = views[clip.indices[0]]
    size = bounds(pictures, clip.total).fit(first.fitted.original).size
    token = loaded.tokenizer.convert_tokens_to_ids(TOKEN)
    grid = (size[1] // pictures.patch_size, size[0] // pictures.patch_size)
    count = math.prod(grid) // pictures.merge_size**2
    steps = pictures.temporal_patch_size
    starts = range(0, len(clip.indices), steps)
    for start in starts:
        group = clip.indices[start : start + steps]
        frames = [getattr(views[index], "picture", None) for index in group]
        frames += frames[-1:] * (steps - len(frames))  # a film's last frame stands still
        tensors = {"pixel_values_videos": _patches(pictures, frames, size)}
        if start == 0:
            tensors["video_grid_thw"] = torch.tensor([[len(starts), *grid]])
            tensors |= {"second_per_grid_ts": torch.tensor([steps / clip.fps])} if timed else {}
        for place, index in enumerate(group):
            width, height = views[index].fitted.original
            fitted = Fitted((width, height), size, size[0] / width, size[1] / height)
            views[index] = View(fitted, (token,) * count, tensors) if place == 0 else View(fitted, ())


def bounds(pictures: Any, total: int) -> Resized:
    """How one of `total` frames is resized; the checkpoint's own bound for pictures holds, too."""
    multiple = pictures.patch_size * pictures.merge_size
    cell = multiple**2
    share = max(min(MOST, CONTEXT * pictures.temporal_patch_size / total), int(FEWEST * 1.05))
    most = min(int(share * cell), pictures.size.longest_edge)
    least = FEWEST * cell if most > FEWEST * cell else pictures.size.shortest_edge
    return Resized(least, most, multiple)


def _patches(pictures: Any, frames: list[Any], size: tuple[int, int]) -> torch.Tensor:
    """Patches (n, channels x time x height x width) of frames at consecutive times."""
    import torch
    from PIL import Image

    bounds = {"shortest_edge": 1, "longest_edge": size[0] * size[1]}
    halves = []
    for time, frame in enumerate(frames):
        resized = frame if frame.size == size else frame.resize(size, Image.Resampling.BICUBIC)
        given = pictures(images=[resized], size=bounds, return_tensors="pt")["pixel_values"]
        halves.append(given.view(len(given), -1, len(frames), pictures.patch_size**2)[:, :, time])
    return torch.stack(halves, dim=2).flatten(1)
