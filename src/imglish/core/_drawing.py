"""Results drawn on pictures: regions by supervision's annotators, words on a strip below."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from imglish.core._export import detections, load_supervision
from imglish.core.images import open_image
from imglish.core.results import (
    OUT_OF_WORLD,
    PARSE,
    TRUNCATED,
    Boxes,
    Masks,
    Record,
    Regions,
    Result,
    Text,
    TextRegions,
)

_READABLE = 640  # smaller pictures are enlarged by a whole factor until their longer side has so many pixels
_COLOURS = (
    "#d62728",
    "#1f77b4",
    "#2ca02c",
    "#ff7f0e",
    "#9467bd",
    "#17becf",
    "#e377c2",
    "#8c564b",
    "#bcbd22",
    "#111111",
)
_WARNINGS = {TRUNCATED: "the answer was cut short", OUT_OF_WORLD: "this is unlike what the model was trained on"}
_DARK, _LIGHT = "#000000", "#ffffff"


def draw(result: Result, picture: Image.Image, scale: int | None) -> Image.Image:
    """A new picture: the old one enlarged, the regions on it, and below it what is not a region."""
    base = open_image(picture)
    factor = scale if scale is not None else max(1, math.ceil(_READABLE / max(base.size)))
    if factor > 1:
        base = base.resize((base.width * factor, base.height * factor), Image.Resampling.LANCZOS)
    if isinstance(result, Regions) and len(result):
        base = _annotate(_enlarged(result, factor, base.size), base)
    return _with_strip(base, _words(result))


def _enlarged(result: Regions, factor: int, size: tuple[int, int]) -> Regions:
    if isinstance(result, Boxes):
        return dataclasses.replace(result, xyxy=result.xyxy * factor, size=size)
    if isinstance(result, TextRegions):
        return dataclasses.replace(result, quads=result.quads * factor, size=size)
    if isinstance(result, Masks):
        grown = tuple(
            tuple(tuple((x * factor, y * factor) for x, y in piece) for piece in item) for item in result.polygons
        )
        return dataclasses.replace(result, polygons=grown, size=size)
    return result


def _annotate(result: Regions, picture: Image.Image) -> Image.Image:
    sv = load_supervision()
    found = detections(result)
    # things of one class get a colour each, things of several classes a colour per class
    lookup = sv.ColorLookup.INDEX if len(set(found.class_id.tolist())) == 1 else sv.ColorLookup.CLASS
    palette = sv.ColorPalette.from_hex(list(_COLOURS))
    colours: dict[str, Any] = {"color": palette, "color_lookup": lookup}
    thickness = max(2, round(max(picture.size) / 320))
    if isinstance(result, Masks):
        picture = sv.MaskAnnotator(opacity=0.35, **colours).annotate(picture, found)
        numbers = range(len(result)) if lookup is sv.ColorLookup.INDEX else found.class_id.tolist()
        picture = _outlined(picture, result, [_COLOURS[number % len(_COLOURS)] for number in numbers], thickness + 1)
    elif isinstance(result, TextRegions):
        picture = sv.OrientedBoxAnnotator(thickness=thickness, **colours).annotate(picture, found)
    else:
        picture = sv.BoxAnnotator(thickness=thickness, **colours).annotate(picture, found)
    labels = [_label(item.label, item.confidence) for item in result]
    if not any(labels):
        return picture
    size = max(14, round(max(picture.size) / 42))
    path = font_path()
    writer = sv.RichLabelAnnotator(
        text_color=sv.ColorPalette.from_hex([_on(colour) for colour in _COLOURS]),
        font_path=None if path is None else str(path),
        font_size=size,
        text_padding=max(3, size // 4),
        smart_position=len(labels) <= 60,  # spreading labels out takes time that grows with their square
        **colours,
    )
    drawn: Image.Image = writer.annotate(picture, found, labels=labels)
    return drawn


def _outlined(picture: Image.Image, result: Masks, colours: list[str], thickness: int) -> Image.Image:
    """The outlines themselves: supervision's PolygonAnnotator would find them anew in the bitmaps, in seconds."""
    pen = ImageDraw.Draw(picture)
    for item, colour in zip(result, colours, strict=True):
        for piece in item.polygons:
            pen.line([*piece, *piece[:2]], fill=colour, width=thickness, joint="curve")
    return picture


def _label(label: str, confidence: float | None) -> str:
    text = label if len(label) <= 40 else label[:39] + "…"
    return text if confidence is None else f"{text} {confidence:.2f}".strip()


def _on(colour: str) -> str:
    """Black or white, whichever can be read on `colour`."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _LIGHT


def _words(result: Result) -> list[str]:
    lines: list[str] = []
    if isinstance(result, Text):
        lines = result.text.splitlines() or [""]
    elif isinstance(result, Record):
        lines = [f"{name}: {value}" for name, value in result.data.items()]
    elif isinstance(result, Regions) and not len(result) and result.parsed:
        lines = ["nothing found"]
    unread = [f"could not parse: {problem.message}" for problem in result.problems if problem.kind == PARSE]
    kinds = {problem.kind for problem in result.problems}
    return lines + unread[:3] + [f"warning: {text}" for kind, text in _WARNINGS.items() if kind in kinds]


def _with_strip(picture: Image.Image, lines: list[str]) -> Image.Image:
    if not lines:
        return picture
    size = max(14, round(max(picture.size) / 36))
    path = font_path()
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
    margin = size // 2
    columns = max(8, int((picture.width - 2 * margin) / font.getlength("n")))
    wrapped = [part for line in lines for part in textwrap.wrap(line, columns) or [""]]
    step = round(size * 1.35)
    taller = Image.new("RGB", (picture.width, picture.height + step * len(wrapped) + 2 * margin), "white")
    taller.paste(picture)
    pen = ImageDraw.Draw(taller)
    for number, line in enumerate(wrapped):
        pen.text((margin, picture.height + margin + number * step), line, font=font, fill="black")
    return taller


def font_path() -> Path | None:
    """DejaVu Sans: it knows Polish, Vietnamese and Cyrillic letters, and lies in matplotlib, which is not imported."""
    spec = importlib.util.find_spec("matplotlib")
    path = Path(spec.origin or "").parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if spec is not None else None
    return path if path is not None and path.is_file() else None
