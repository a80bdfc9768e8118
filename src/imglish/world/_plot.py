"""Bar, line, scatter and pie charts drawn from their data, with every word on them as a line of text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from imglish.core.types import Box, Size
from imglish.world import _text
from imglish.world._scene import TextLine

PALETTE: tuple[_text.Colour, ...] = (
    (214, 62, 48),
    (44, 110, 190),
    (60, 150, 70),
    (240, 170, 40),
    (134, 80, 170),
    (30, 160, 160),
    (140, 90, 60),
    (230, 120, 170),
    (90, 90, 100),
    (150, 180, 60),
)


@dataclass(frozen=True)
class Data:
    """What a chart shows. `top` and `step` are the end and the tick distance of the value axis (unused by a pie)."""

    form: str
    title: str
    names: tuple[str, ...]
    values: tuple[int, ...]
    top: int
    step: int
    axes: tuple[str, str] = ("", "")  # labels of the category and the value axis
    written: bool = False  # whether each value stands beside its mark


@dataclass(frozen=True)
class Style:
    """How it is drawn: font, its height, ink, ground, colours of the marks (one each), and lines across."""

    face: str
    px: int
    ink: _text.Colour
    ground: _text.Colour
    colours: tuple[_text.Colour, ...]
    grid: bool


def style(rng: Random, count: int, px: int, face: str) -> Style:
    """A light or (one in five) dark chart in which marks and ink stand out."""
    dark = rng.random() < 0.2
    level = rng.randint(16, 40) if dark else rng.randint(232, 255)
    ground = (level, level, min(255, level + rng.randrange(8)))
    ink = (232, 232, 236) if dark else (24, 24, 30)
    visible = [colour for colour in PALETTE if not dark or sum(colour) > 300]
    colours = [visible[index % len(visible)] for index in rng.sample(range(10), min(count, 10))]
    if rng.random() < 0.5:
        colours = colours[:1] * count
    return Style(face, px, ink, ground, tuple(colours), rng.random() < 0.75)


def room(size: Size, px: int, count: int) -> float:
    """About how wide the name of one of `count` categories may be."""
    return (size[0] - 5.2 * px) / count - 2


def plot(data: Data, look: Style, size: Size, rng: Random) -> tuple[Image.Image, tuple[TextLine, ...]]:
    """The chart and the lines of text on it: title first, then names, ticks, axis labels, written values."""
    image = Image.new("RGB", size, look.ground)
    px = look.px
    title_face = _text.face_for(data.title, rng.choice(("sans bold", look.face)))
    high = px + 2
    while high > 5 and _text.width(data.title, title_face, high) > size[0] - 8:
        high -= 1
    at = (size[0] / 2, px * 0.9)
    lines = [_text.write(image, data.title, at, high, face=title_face, colour=look.ink, anchor="centre")]
    if data.form == "pie":
        return image, (*lines, *_pie(image, data, look, rng))
    ticks = [str(value) for value in range(0, data.top + 1, data.step)]
    left = round(4 + max(_text.width(tick, look.face, px) for tick in ticks) + (px * 1.5 if data.axes[1] else 2))
    bottom = size[1] - round(px * (2.7 if data.axes[0] else 1.5))
    frame = (left, round(px * (3.1 if data.written else 2.2)), size[0] - 4, bottom)
    lines += _axes(image, data, look, frame, ticks)
    lines += _marks(image, data, look, frame)
    return image, tuple(lines)


def _axes(image: Image.Image, data: Data, look: Style, frame: Box, ticks: list[str]) -> list[TextLine]:
    left, top, right, bottom = frame
    pencil, px, lines = ImageDraw.Draw(image), look.px, []
    faint = tuple((3 * a + b) // 4 for a, b in zip(look.ground, look.ink, strict=True))
    slot = (right - left) / len(data.names)
    for index, name in enumerate(data.names):
        at = (left + slot * (index + 0.5), bottom + px * 0.8)
        lines.append(_text.write(image, name, at, px, face=look.face, colour=look.ink, anchor="centre"))
        if data.form != "bar":
            pencil.line((at[0], bottom - 3, at[0], bottom), fill=look.ink)
    for index, tick in enumerate(ticks):
        y = bottom - (bottom - top) * index / (len(ticks) - 1)
        if look.grid and index:
            pencil.line((left, y, right, y), fill=faint)
        pencil.line((left - 3, y, left, y), fill=look.ink)
        lines.append(_text.write(image, tick, (left - 4, y), px, face=look.face, colour=look.ink, anchor="right"))
    pencil.line((left, top, left, bottom), fill=look.ink)
    pencil.line((left, bottom, right, bottom), fill=look.ink)
    if data.axes[0]:
        at = ((left + right) / 2, bottom + px * 1.95)
        lines.append(_label(image, data.axes[0], at, look, 0.0))
    if data.axes[1]:
        lines.append(_label(image, data.axes[1], (px * 0.7, (top + bottom) / 2), look, -90.0))
    return lines


def _label(image: Image.Image, string: str, at: tuple[float, float], look: Style, angle: float) -> TextLine:
    face = _text.face_for(string, look.face)
    return _text.write(image, string, at, look.px, face=face, colour=look.ink, angle=angle, anchor="centre")


def _marks(image: Image.Image, data: Data, look: Style, frame: Box) -> list[TextLine]:
    left, top, right, bottom = frame
    pencil, px, lines = ImageDraw.Draw(image), look.px, []
    slot = (right - left) / len(data.names)
    spots = [
        (left + slot * (index + 0.5), bottom - (bottom - top) * value / data.top)
        for index, value in enumerate(data.values)
    ]
    if data.form == "line":
        pencil.line([(round(x), round(y)) for x, y in spots], fill=look.colours[0], width=max(2, px // 5))
    for index, (x, y) in enumerate(spots):
        colour, half = look.colours[index % len(look.colours)], max(2.0, px / 3)
        if data.form == "bar":
            wide = min(slot * 0.36, px * 1.6)
            pencil.rectangle(
                (round(x - wide), min(round(y), round(bottom) - 1), round(x + wide), round(bottom) - 1), fill=colour
            )
        else:
            pencil.ellipse((x - half, y - half, x + half, y + half), fill=look.colours[0])
        if data.written:
            at, string = (x, y - px * (0.75 if data.form == "bar" else 0.95)), str(data.values[index])
            half = _text.width(string, look.face, px) / 2
            if data.form == "line":  # the curve must not cross the number
                pencil.rectangle((x - half, at[1] - px * 0.4, x + half, at[1] + px * 0.4), fill=look.ground)
            lines.append(_text.write(image, string, at, px, face=look.face, colour=look.ink, anchor="centre"))
    return lines


def _pie(image: Image.Image, data: Data, look: Style, rng: Random) -> list[TextLine]:
    """Slices clockwise with their shares written on them, and a legend to the right."""
    px, lines = look.px, []
    colours = rng.sample(PALETTE, len(data.names))
    legend = max(_text.width(name, look.face, px) for name in data.names) + px * 1.6
    radius = max(3.0, min((image.width - legend - 12) / 2, (image.height - px * 2.4) / 2))
    x, y = 4 + radius, px * 1.9 + radius
    pencil, start = ImageDraw.Draw(image), rng.randrange(360)
    box = (x - radius, y - radius, x + radius, y + radius)
    begin = float(start)
    for value, colour in zip(data.values, colours, strict=True):
        pencil.pieslice(box, begin, begin + value * 3.6, fill=colour, outline=look.ground)
        begin += value * 3.6
    begin = float(start)
    for value, colour in zip(data.values, colours, strict=True):
        middle = math.radians(begin + value * 1.8)
        at = (x + radius * 0.68 * math.cos(middle), y + radius * 0.68 * math.sin(middle))
        ink = (255, 255, 255) if sum(colour) < 400 else (0, 0, 0)
        lines.append(_text.write(image, f"{value}%", at, px, face="sans bold", colour=ink, anchor="centre"))
        begin += value * 3.6
    row, across = px * 1.5, image.width - legend - 2
    for index, (name, colour) in enumerate(zip(data.names, colours, strict=True)):
        middle = y + (index - (len(data.names) - 1) / 2) * row
        pencil.rectangle((across, middle - px * 0.4, across + px * 0.8, middle + px * 0.4), fill=colour)
        lines.append(_text.write(image, name, (across + px * 1.2, middle), px, face=look.face, colour=look.ink))
    return lines
