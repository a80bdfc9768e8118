"""Pictures of requests are opened before anything is computed, and many results do not hold them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from PIL import Image

from imglish.core.errors import InputError
from imglish.core.images import open_image
from imglish.core.results import Result
from imglish.core.types import ImagePart, ImageSource, Message, Request, VideoPart
from imglish.families._base import request_images


def _opened(source: ImageSource) -> Image.Image:
    """The picture; one that is in memory already was bounded, or not, by whoever decoded it."""
    if type(source) is Image.Image:  # not a subclass: what Image.open gives is decoded only when it is read
        return open_image(source, max_pixels=max(source.width * source.height, 1))
    return open_image(source)


def open_request(request: Request) -> Request:
    """The same request with every picture opened. Raises ImageError naming the one that cannot be.

    A region that does not touch the picture is an InputError.
    """

    def opened(part: Any) -> Any:
        if isinstance(part, ImagePart):
            return ImagePart(_opened(part.image))
        if isinstance(part, VideoPart):
            return VideoPart(tuple(_opened(frame) for frame in part.frames), part.fps)
        return part

    messages = tuple(Message(m.role, tuple(opened(part) for part in m.parts)) for m in request.messages)
    ready = dataclasses.replace(request, messages=messages)
    if request.region is not None:
        width, height = request_images(ready)[0][0].size
        x1, y1, x2, y2 = request.region
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            raise InputError(f"the box {request.region} lies outside the picture, which is {width} x {height} pixels")
    return ready


def light(result: Result, request: Request) -> Result:
    """The same result, which names the file of its picture where there is one: `draw` opens it again."""
    source = next(iter(request_images(request)[0]), None)
    return dataclasses.replace(result, picture=source) if isinstance(source, (str, Path)) else result
