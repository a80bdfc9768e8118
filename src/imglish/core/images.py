"""Pictures from wherever they are: every source becomes an upright RGB image, or an ImageError that says why not.

EXIF orientation is applied, transparency is laid on white, the first frame of an animation is taken. The number of
pixels is checked from the header, before anything is decoded. Only formats that Pillow decodes by itself are opened:
none that starts another program (EPS) or has no reliable signature.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from imglish.core._sources import describe, read_bytes
from imglish.core.errors import ImageError
from imglish.core.types import ImageSource

MAX_PIXELS = 89_000_000
MAX_BYTES = 512 * 1024 * 1024
FORMATS = (
    "PNG JPEG GIF BMP PPM WEBP AVIF DIB TIFF ICO ICNS JPEG2000 PCX QOI SGI DDS PSD".split()  # noqa: SIM905
)
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OTHER_FORMATS = (  # bytes, where they stand, what it is and what to do
    (b"%PDF", 0, "a PDF document", "turn its pages into PNG pictures first"),
    (b"<svg", None, "an SVG drawing", "render it to PNG first"),
    (b"ftyphei", 4, "a HEIC picture", "save it as JPEG or PNG first"),
    (b"ftypmif1", 4, "a HEIF picture", "save it as JPEG or PNG first"),
    (b"ftyp", 4, "a video", "give some of its frames as pictures"),
    (b"%!PS", 0, "a PostScript file", "render it to PNG first"),
    (b"<html", None, "a web page", "name the picture in it"),
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # the second where warnings are errors
_pillow_limit = threading.Lock()


def open_image(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, allow_urls: bool = False, max_bytes: int = MAX_BYTES
) -> Image.Image:
    """The picture as an upright RGB image.

    `source` is a path, an http(s) URL (only where `allow_urls`), a data URL, bytes, a PIL image, a numpy array
    (height, width[, 1 | 3 | 4]; uint8, uint16, bool or floats from 0 to 1), or a file object open for reading bytes.
    Raises ImageError, naming the source, for whatever cannot be read or is larger than allowed.
    """
    name = describe(source)
    if isinstance(source, np.ndarray):
        return _rgb(_from_array(source, name, max_pixels), name)
    with _opened(source, name, max_pixels, allow_urls, max_bytes) as image:
        return _upright(image, name, max_pixels)


def open_frames(
    source: ImageSource | Sequence[ImageSource],
    *,
    count: int | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_urls: bool = False,
    max_bytes: int = MAX_BYTES,
) -> tuple[Image.Image, ...]:
    """The frames of an animation (GIF, WebP, APNG, pages of TIFF), or of a sequence of sources, in order.

    `count` takes so many, evenly spaced, the first and the last among them. `max_pixels` bounds their sum.
    """
    if isinstance(source, (list, tuple)):
        chosen = [source[index] for index in _spaced(len(source), count)]
        frames = []
        for item in chosen:
            frames.append(open_image(item, max_pixels=max_pixels, allow_urls=allow_urls, max_bytes=max_bytes))
            max_pixels -= frames[-1].width * frames[-1].height
        return tuple(frames)
    name = describe(source)
    if isinstance(source, np.ndarray):
        return (open_image(source, max_pixels=max_pixels),)
    with _opened(source, name, max_pixels, allow_urls, max_bytes) as image:
        try:
            indices = _spaced(getattr(image, "n_frames", 1), count)
        except Exception as error:
            raise _damaged(name, error) from error
        _check_size(image.size, name, max_pixels, frames=len(indices))
        frames, shown = [], image.tell()
        for index in indices:  # pages of a TIFF have sizes of their own
            frames.append(_upright(image, name, max_pixels, frame=index))
            max_pixels -= frames[-1].width * frames[-1].height
        if image is source and image.tell() != shown:
            image.seek(shown)
        return tuple(frames)


def content_hash(image: Image.Image) -> str:
    """32 hex digits of the size and the decoded pixels: equal for equal pictures, wherever they came from."""
    pixels = image if image.mode == "RGB" else image.convert("RGB")
    digest = hashlib.blake2b(f"{pixels.width}x{pixels.height}".encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()


@contextmanager
def _opened(source: Any, name: str, max_pixels: int, allow_urls: bool, max_bytes: int) -> Iterator[Image.Image]:
    """The picture with its header read and its size checked, nothing decoded yet. A caller's own stays open."""
    if isinstance(source, Image.Image):
        _check_size(source.size, name, max_pixels)
        yield source
        return
    data = read_bytes(source, name, allow_urls=allow_urls, max_bytes=max_bytes)
    with _limit(max_pixels):
        image = _identify(data, name, max_pixels)
        with image:
            _check_size(image.size, name, max_pixels)
            yield image


def _identify(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """`Image.open`, without Pillow's own limit on pixels: that one hides the size that our message tells."""
    Image.preinit()
    reason = ""
    for kind in FORMATS:
        if kind not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN.get(kind, (None, None))
        if factory is None or not _begins_like(data, accept):
            continue
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:  # Pillow's words for "not mine"
            reason = f"it begins like {kind} and goes on otherwise ({error})"
        except _BOMBS as error:
            raise _too_large(name, str(error), max_pixels) from error
        except Exception as error:
            raise _damaged(name, error) from error
    raise _unknown(name, data, reason)


def _begins_like(data: bytes, accept: Any) -> bool:
    """Whether a format takes this beginning; of fewer bytes than its signature, Pillow's formats raise."""
    try:
        return accept is None or accept(data[:16]) is True
    except (SyntaxError, IndexError, TypeError, ValueError, struct.error):
        return False


@contextmanager
def _limit(max_pixels: int) -> Iterator[None]:
    """Pillow has a limit of its own, for the whole process; raise it while a caller allows more."""
    if Image.MAX_IMAGE_PIXELS is None or max_pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(max_pixels, before or 0)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _from_array(array: Any, name: str, max_pixels: int) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        hint = "channels come last: array.transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ImageError(f"cannot read {name}: allowed are (height, width) and (height, width, 1 | 3 | 4)", hint=hint)
    _check_size((array.shape[1], array.shape[0]), name, max_pixels)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = _eight_bits(array)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"cannot read {name}: floats run from 0 to 1, and these do not", hint="divide by 255?")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() > 255:
            raise ImageError(f"cannot read {name}: allowed are uint8, uint16, bool and floats from 0 to 1")
        array = array.astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and channels == 1 else array))


def _upright(image: Image.Image, name: str, max_pixels: int, *, frame: int | None = None) -> Image.Image:
    """Decodes the picture (or one frame of it) to RGB and turns it as its EXIF says."""
    try:
        if frame is not None and frame != image.tell():
            image.seek(frame)
            _check_size(image.size, name, max_pixels)
        image.load()
        _check_size(image.size, name, max_pixels)  # an icon may hold a picture larger than it says
        turn = _TURNS.get(_orientation(image))
        rgb = _rgb(image, name)
        return rgb.transpose(turn) if turn is not None else rgb
    except ImageError:
        raise
    except _BOMBS as error:
        raise _too_large(name, str(error), max_pixels) from error
    except Exception as error:
        raise _damaged(name, error) from error


def _orientation(image: Image.Image) -> int:
    """1 (upright) where the picture does not say, or says it in a block that cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, ArithmeticError):
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """A new RGB image, equal to what a viewer shows on a white page."""
    mode = image.mode
    if mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(np.asarray(image).astype(np.uint16)))
    elif mode in ("I", "F"):
        image = Image.fromarray(_unbounded(np.asarray(image), name))
    elif mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    elif mode == "LAB":
        raise ImageError(f"cannot read {name}: its colours are in the LAB space", hint="convert it to RGB first")
    rgb = image.copy() if image.mode == "RGB" else image.convert("RGB")
    rgb.info = {}
    return rgb


def _eight_bits(array: Any) -> Any:
    """uint16 to uint8, over the whole range: 65535 is white."""
    return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _unbounded(array: Any, name: str) -> Any:
    """Numbers without a declared white. 0..1 (floats), 0..255 and 0..65535 are known ranges; others are stretched."""
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"cannot read {name}: it has pixels that are not finite numbers")
    low, high = float(values.min()), float(values.max())
    known = (1.0, 255.0, 65535.0) if np.issubdtype(array.dtype, np.floating) else (255.0, 65535.0)
    white = next((top for top in known if low >= 0 and high <= top), None)
    if white is None:
        values, white = values - low, max(high - low, 1e-9)
    return np.round(values / white * 255).astype(np.uint8)


def _spaced(total: int, count: int | None) -> list[int]:
    if count is None or count >= total:
        return list(range(total))
    if count < 1:
        raise ImageError(f"{count} frames are asked for; at least one is needed")
    return [round(index * (total - 1) / max(count - 1, 1)) for index in range(count)]


def _check_size(size: tuple[int, int], name: str, max_pixels: int, *, frames: int = 1) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"cannot read {name}: it is {width} x {height} pixels")
    if width * height * frames > max_pixels:
        times = f"{frames} frames of " if frames > 1 else ""
        raise _too_large(name, f"it is {times}{width} x {height} pixels", max_pixels, frames=frames)


def _too_large(name: str, what: str, max_pixels: int, *, frames: int = 1) -> ImageError:
    way = "core.images.open_frames(picture, count=...)" if frames > 1 else "open_image(picture, max_pixels=...)"
    return ImageError(
        f"cannot read {name}: {what}, and at most {max_pixels / 1e6:g} megapixels are decoded",
        hint=f"in Python, open it with imglish.{way} and give what that returns; "
        f"on the command line, add --max-image-pixels; or {'take fewer frames' if frames > 1 else 'crop it'} first",
    )


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(f"cannot read {name}: it is damaged or cut short ({error})", hint="fetch or save it again")


def _unknown(name: str, data: bytes, reason: str) -> ImageError:
    start = data[:512].lower()
    for mark, place, what, hint in _OTHER_FORMATS:
        at = start.find(mark.lower())
        if at >= 0 and place in (None, at):
            return ImageError(f"cannot read {name}: it is {what}", hint=hint)
    return ImageError(
        f"cannot read {name}: {reason or 'it is not a picture of a known format'}",
        hint="known are " + ", ".join(FORMATS) + "; the name's ending does not matter",
    )
