"""What a server is sent of a picture: bounded in pixels and bytes, in the frame that the model's codec counts in.

A server does not say how its model resizes pictures. Where places are counted in pixels of the resized picture
(Qwen2.5-VL), it is sent in that size already; where they are shares of a padded square (LLaVA 1.5), it is padded here.
"""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

from PIL import Image

from imglish.core.errors import ImageError
from imglish.core.frames import Fitted, Frame, Identity, PaddedSquare, Resized
from imglish.core.images import content_hash
from imglish.core.results import ImageReceipt
from imglish.core.types import Size

MOST_PIXELS = 2048 * 2048  # of a picture that is sent, where nothing else is asked for
MOST_BYTES = 12 * 1024 * 1024  # of one picture, encoded
LOSSLESS = 1024 * 1024  # pixels of a picture up to which it is sent as PNG; larger ones are JPEG
MEAN = (122, 116, 104)  # of CLIP's pictures: what LLaVA pads with


class Shown(NamedTuple):
    """One picture as it is sent."""

    url: str
    receipt: ImageReceipt


def show(picture: Image.Image, frame: Frame, *, number: int | None = None) -> Shown:
    """A picture as a data URL; `frame` says in which size. `number` is that of a frame of a video."""
    fitted = frame.fit(picture.size)
    sent = fitted.apply(picture, fill=MEAN)
    kind, data = encoded(sent)
    receipt = ImageReceipt(
        original_size=picture.size, model_size=fitted.size, scale=fitted.scale, pad=fitted.pad,
        content_hash=content_hash(picture), frame=number,
    )  # fmt: skip
    return Shown(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", receipt)


def encoded(picture: Image.Image) -> tuple[str, bytes]:
    """("png" or "jpeg", its bytes). Nothing but pixels is sent: no name, no place, no camera."""
    if picture.width * picture.height <= LOSSLESS:
        data = _saved(picture, "PNG", compress_level=4)
        if len(data) <= MOST_BYTES:
            return "png", data
    for quality in (95, 85, 70, 50):
        data = _saved(picture, "JPEG", quality=quality, subsampling=0)
        if len(data) <= MOST_BYTES:
            return "jpeg", data
    raise ImageError(
        f"the picture of {picture.width} x {picture.height} pixels has more than {MOST_BYTES // 2**20} MiB encoded",
        hint="send it smaller: max_pixels",
    )


class Bounded:
    """As it is, but made smaller where it has more than `most` pixels; `square` pads it to a square first."""

    def __init__(self, most: int = MOST_PIXELS, *, square: bool = False) -> None:
        self.most, self.square = most, square

    def fit(self, size: Size) -> Fitted:
        """The shape is kept, up to whole pixels."""
        if self.square:
            return PaddedSquare(min(max(size), int(self.most**0.5))).fit(size)
        return (Identity() if size[0] * size[1] <= self.most else Resized(1, self.most, 1)).fit(size)


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
