"""The bytes of a picture, from paths, URLs, data URLs, bytes and file objects; never more than allowed."""

from __future__ import annotations

import base64
import binascii
import http.client
import os
import stat
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imglish.core.errors import ImageError
from imglish.core.types import ImageSource

_SECONDS = 30.0  # of silence from a server


def describe(source: ImageSource) -> str:
    """A source in a few words, for messages."""
    if isinstance(source, (str, os.PathLike)):
        text = str(source)
        if text.startswith("data:"):
            return f"the data URL {text[:40]}..."
        return repr(text if len(text) <= 200 else text[:200] + "...")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"an image of {len(source)} bytes"
    if isinstance(source, np.ndarray):
        return f"an array of shape {source.shape} and type {source.dtype}"
    if isinstance(source, Image.Image):
        return f"an image {getattr(source, 'filename', '') or source.mode!r} of {source.width} x {source.height} pixels"
    return repr(str(name)) if (name := getattr(source, "name", None)) else f"an object of type {type(source).__name__}"


def read_bytes(source: Any, name: str, *, allow_urls: bool, max_bytes: int) -> bytes:
    """The encoded picture. Raises ImageError for what cannot be read, has no bytes, or more than `max_bytes`."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, str) and source[:5].lower() == "data:":
        data = _data_url(source, name, max_bytes)
    elif isinstance(source, str) and source[:8].lower().startswith(("http://", "https://")):
        data = _download(source, name, allow_urls, max_bytes)
    elif isinstance(source, (str, os.PathLike)):
        data = _file(source, name, max_bytes)
    elif callable(getattr(source, "read", None)):
        try:
            data = source.read(max_bytes + 1)
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            raise ImageError(f"cannot read {name}: {error}") from error
        if not isinstance(data, bytes):
            raise ImageError(f"cannot read {name}: it gives {type(data).__name__}", hint="open the file with mode 'rb'")
    else:
        raise ImageError(
            f"{name} is not a picture",
            hint="allowed are a path, URL, data URL, bytes, PIL image, numpy array or a file object",
        )
    if len(data) > max_bytes:
        raise ImageError(f"cannot read {name}: it has more than {max_bytes} bytes, and at most so many are read")
    if not data:
        raise ImageError(f"cannot read {name}: it is empty, zero bytes")
    return data


def _file(source: str | os.PathLike[str], name: str, max_bytes: int) -> bytes:
    try:
        path = Path(source).expanduser()
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"cannot read {name}: it is a folder", hint="name a picture in it")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"cannot read {name}: it is not a regular file")
        if status.st_size > max_bytes:
            raise ImageError(f"cannot read {name}: it has {status.st_size} bytes, and at most {max_bytes} are read")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"no file {name}", hint=f"the current folder is {Path.cwd()}") from error
    except PermissionError as error:
        raise ImageError(f"cannot read {name}: permission denied") from error
    except (OSError, ValueError, RuntimeError) as error:  # names too long, with zero bytes, of unknown users
        raise ImageError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error


def _data_url(source: str, name: str, max_bytes: int) -> bytes:
    head, comma, body = source.partition(",")
    if not comma:
        raise ImageError(f"{name} has no comma, and so no data", hint="the form is data:image/png;base64,AAAA")
    if len(body) > max_bytes * 4 // 3 + 4:
        raise ImageError(f"{name} has more than {max_bytes} bytes, and at most so many are read")
    data = urllib.parse.unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error as error:
        raise ImageError(f"{name} is not valid base64: {error}") from error


def _download(source: str, name: str, allow_urls: bool, max_bytes: int) -> bytes:
    if not allow_urls:
        raise ImageError(
            f"{name} is a URL, and URLs are not opened",
            hint="in Python, open it with imglish.open_image(url, allow_urls=True) and give what that returns; "
            "on the command line, add --allow-urls",
        )
    request = urllib.request.Request(source, headers={"User-Agent": "imglish"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            if not response.geturl().lower().startswith(("http://", "https://")):
                raise ImageError(f"{name} leads to {response.geturl()!r}, and only http and https are opened")
            data: bytes = response.read(max_bytes + 1)
            return data
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ImageError(f"cannot download {name}: {error}") from error
