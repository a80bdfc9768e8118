"""Words, lines and plates in Latin (with Polish and Vietnamese letters), Cyrillic and digits, turned and noisy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from imglish.core.types import Point, Sample, Size
from imglish.world import _beyond, _lexicon, _reading, _text, _words
from imglish.world._forms import Maker
from imglish.world._scene import LANGUAGES, Language, Scene, TextLine, Wording

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "hard", "crowded")
SIZE: Size = (192, 192)
# lines, font height in the 192 frame, turn in degrees, grain, least contrast of luminance
_EASY = ((1, 1), (22, 34), 0.0, (0, 2), 150)
_ORDINARY = ((1, 3), (14, 30), 10.0, (0, 8), 110)
_HARD = ((1, 4), (10, 14), 30.0, (6, 22), 75)
_CROWDED = ((4, 40), (9, 16), 12.0, (0, 14), 85)
_LEVELS = {"easy": _EASY, "ordinary": _ORDINARY, "hard": _HARD, "crowded": _CROWDED}
_LIMIT = {"easy": 22, "ordinary": 14, "hard": 10, "crowded": 9}  # smallest font, whatever has to fit
_FACES = tuple(_text.FACES)


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """A picture with text; one in twenty (but for easy and crowded ones) has none.

    `facts`: `language` of the words, whether it is a `plate`, whether all words are `real`.
    """
    rng = Random(f"text/{VERSION}/{seed}/{size}/{difficulty}")
    image, ink = _ground(rng, size, _LEVELS[difficulty][4])
    facts: dict[str, Any] = {"language": rng.choice(LANGUAGES), "plate": False, "real": False}
    kind = rng.random()
    if difficulty == "crowded":
        lines = _crowd(rng, image, ink)
    elif difficulty != "easy" and kind < 0.05:
        lines = ()
        _clutter(rng, image, ink)
    elif kind < 0.17:
        facts["plate"] = True
        lines = _plate(rng, image, difficulty)
    else:
        strings, facts["real"] = _strings(rng, facts["language"], difficulty)
        lines = _block(rng, image, ink, strings, difficulty)
    image = _weather(rng, image, difficulty)
    return Scene("text", seed, size, difficulty, (image,), lines=lines, facts=facts)


def _unit(size: Size) -> float:
    return max(size) / 192


def _strings(rng: Random, language: Any, difficulty: str) -> tuple[list[str], bool]:
    low, high = _LEVELS[difficulty][0]
    real = rng.random() < 0.4  # all lines of real words, so that the language can be told
    count = rng.randint(low, high)
    strings = [_lexicon.line(rng, language, real=1.0 if real else 0.1) for _ in range(count)]
    return list(dict.fromkeys(strings)), real


def _block(rng: Random, image: Image.Image, ink: _text.Colour, strings: list[str], level: str) -> tuple[TextLine, ...]:
    """Lines under one another, turned together; smaller, then fewer of them, until they fit."""
    _, (low, high), turn, _, _ = _LEVELS[level]
    unit = _unit(image.size)
    px, angle = round(rng.uniform(low, high) * unit), _angle(rng, turn)
    face = _text.face_for("".join(strings), rng.choice(_FACES))
    align, leading = rng.choice((0.0, 0.0, 0.5, 0.5, 1.0)), rng.uniform(1.25, 1.7)
    least = round(_LIMIT[level] * unit)
    while True:
        laid = [_text.lay(string, face, px, angle) for string in strings]
        places, wide, high_ = _stack(laid, angle, px * leading, align)
        room_x, room_y = image.width - 6 - wide, image.height - 6 - high_
        if room_x >= 0 and room_y >= 0:
            break
        if px > least:
            px = max(least, min(px - 1, int(px * min(image.width / (wide + 6), image.height / (high_ + 6)))))
        elif len(strings) > 1:
            strings.pop()
        else:
            angle = angle / 2 if abs(angle) > 2 else 0.0
            if len(strings[0]) > 3:
                strings[0] = strings[0][:-1].strip()
            elif angle == 0:
                least -= 1
    x, y = 3 + rng.randint(0, int(room_x)), 3 + rng.randint(0, int(room_y))
    lines = [
        _text.stamp(image, one, (round(x + at[0]), round(y + at[1])), ink) for one, at in zip(laid, places, strict=True)
    ]
    return tuple(lines)


def _stack(laid: list[_text.Laid], angle: float, step: float, align: float) -> tuple[list[Point], float, float]:
    """Upper left corners of masks stacked along the turned downward axis, and the whole's width and height."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    lengths = [math.dist(one.quad[0], one.quad[1]) for one in laid]
    corners = []
    for row, (one, length) in enumerate(zip(laid, lengths, strict=True)):
        along, down = (max(lengths) - length) * align + length / 2, row * step
        middle = tuple((one.axis[0][axis] + one.axis[1][axis]) / 2 for axis in (0, 1))
        corners.append((cos * along - sin * down - middle[0], sin * along + cos * down - middle[1]))
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    right = max(x + one.size[0] for (x, _), one in zip(corners, laid, strict=True))
    bottom = max(y + one.size[1] for (_, y), one in zip(corners, laid, strict=True))
    return [(x - left, y - top) for x, y in corners], right - left + 1, bottom - top + 1


def _plate(rng: Random, image: Image.Image, level: str) -> tuple[TextLine, ...]:
    """One plate: dark letters on a light rounded board with a rim, upright or slightly turned."""
    unit = _unit(image.size)
    string, angle = _lexicon.plate(rng), _angle(rng, min(_LEVELS[level][2], 6.0))
    low, high = _LEVELS[level][1]
    px, face = round(rng.uniform(low, high) * unit), rng.choice(("sans bold", "mono bold", "sans", "mono"))
    board = rng.choice(((240, 240, 236), (246, 214, 60), (228, 232, 240), (250, 250, 250)))
    while True:
        laid = _text.lay(string, face, px, angle)
        pad = px * 0.35
        edge = math.ceil(2 * pad)
        if px <= 4 or (laid.size[0] + 2 * edge <= image.width and laid.size[1] + 2 * edge <= image.height):
            break
        px -= 1
    x = rng.randint(edge, image.width - laid.size[0] - edge)
    y = rng.randint(edge, image.height - laid.size[1] - edge)
    middle = tuple((laid.quad[0][axis] + laid.quad[2][axis]) / 2 + at for axis, at in ((0, x), (1, y)))
    for grow, colour in ((1.6, (30, 30, 34)), (1.25, board)):
        ImageDraw.Draw(image).polygon(_grown(laid, (x, y), middle, pad * grow, angle), fill=colour)
    return (_text.stamp(image, laid, (x, y), rng.choice(((16, 16, 20), (20, 24, 90), (110, 16, 20)))),)


def _grown(laid: _text.Laid, at: tuple[int, int], middle: Any, pad: float, angle: float) -> list[Point]:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    half = math.dist(laid.quad[0], laid.quad[1]) / 2 + pad, math.dist(laid.quad[1], laid.quad[2]) / 2 + pad
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    spots = [(sx * half[0], sy * half[1]) for sx, sy in signs]
    return [(round(middle[0] + cos * a - sin * b), round(middle[1] + sin * a + cos * b)) for a, b in spots]


def _crowd(rng: Random, image: Image.Image, ink: _text.Colour) -> tuple[TextLine, ...]:
    """As many small lines as fit from the top down; strings of letters in no order, so that only looking helps."""
    unit, lines = _unit(image.size), []
    base = _angle(rng, 12.0) if rng.random() < 0.5 else 0.0
    y = 2
    while True:
        px, face = round(rng.uniform(9, 16) * unit), rng.choice(_FACES)
        x, lowest = 2 + rng.randrange(8), y
        while x < image.width - px:
            pick = rng.random()
            language = rng.choice(LANGUAGES)
            string = _lexicon.scramble(rng, rng.randrange(2, 13)) if pick < 0.6 else _lexicon.line(rng, language)
            laid = _text.lay(string, _text.face_for(string, face), px, base)
            if x + laid.size[0] > image.width - 2 or y + laid.size[1] > image.height - 2:
                break
            lines.append(_text.stamp(image, laid, (x, y + rng.randrange(2)), ink))
            lowest = max(lowest, y + 2 + laid.size[1])
            x += laid.size[0] + px
        if lowest == y:
            if y > image.height - 3 * px or y > image.height * 3 // 4:
                return tuple(lines)
            y += px // 2
        y = max(y, lowest + rng.randrange(1, 5))


def _angle(rng: Random, turn: float) -> float:
    """Upright in half of the cases, else whole tenths of a degree up to `turn` either way."""
    if turn == 0 or rng.random() < (0.5 if turn <= 12 else 0.2):
        return 0.0
    return rng.randint(-round(turn * 10), round(turn * 10)) / 10


def _luminance(colour: _text.Colour) -> float:
    return (colour[0] * 299 + colour[1] * 587 + colour[2] * 114) / 1000


def _colour(rng: Random) -> _text.Colour:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _ground(rng: Random, size: Size, contrast: int) -> tuple[Image.Image, _text.Colour]:
    """A plain, shaded, striped or flecked ground, and an ink that stands out from all of it."""
    while True:
        first, ink = _colour(rng), _colour(rng)
        red, green, blue = (min(255, max(0, level + rng.randint(-40, 40))) for level in first)
        second = red, green, blue
        if rng.random() < 0.3:
            ink = rng.choice(((0, 0, 0), (255, 255, 255), (20, 20, 60)))
        if all(abs(_luminance(ink) - _luminance(ground)) >= contrast for ground in (first, second)):
            break
    style = rng.random()
    if style < 0.35:
        return Image.new("RGB", size, first), ink
    if style < 0.7:
        shade = Image.linear_gradient("L").resize(size, Image.Resampling.NEAREST)
        shade = shade.transpose(Image.Transpose(rng.randrange(5))).resize(size, Image.Resampling.NEAREST)
        return Image.composite(Image.new("RGB", size, first), Image.new("RGB", size, second), shade), ink
    image = Image.new("RGB", size, first)
    pencil = ImageDraw.Draw(image)
    step = rng.randint(6, 24)
    if style < 0.85:
        for at in range(0, max(size) * 2, step):
            ends = ((at, 0, at, size[1]), (0, at, size[0], at), (at, 0, at - size[1], size[1]))[rng.randrange(3) % 3]
            pencil.line(ends, fill=second, width=max(1, step // 6))
    else:
        for _ in range(60):
            x, y, r = rng.randrange(size[0]), rng.randrange(size[1]), rng.randint(1, step)
            pencil.ellipse((x - r, y - r, x + r, y + r), fill=second)
    return image, ink


def _clutter(rng: Random, image: Image.Image, ink: _text.Colour) -> None:
    """Blots and curves in the colour of ink that are no letters."""
    pencil = ImageDraw.Draw(image)
    for _ in range(rng.randrange(5)):
        x, y, r = rng.randrange(image.width), rng.randrange(image.height), rng.randint(6, max(image.size) // 5)
        box = (x - r, y - r // 2, x + r, y + r // 2)
        form = rng.randrange(3)
        if form == 0:
            pencil.arc(box, rng.randrange(360), rng.randrange(360, 620), fill=ink, width=rng.randint(2, 4))
        elif form == 1:
            pencil.rectangle(box, outline=ink, width=rng.randint(1, 4))
        else:
            pencil.line((x - r, y, x + r, y + rng.randint(-r, r)), fill=ink, width=rng.randint(1, 4))


def _weather(rng: Random, image: Image.Image, level: str) -> Image.Image:
    low, high = _LEVELS[level][3]
    amount = rng.randint(low, high)
    if level in ("hard", "crowded") and rng.random() < 0.25:
        image = _text.blur(image)
    return _text.grain(image, rng, amount, grey=rng.random() < 0.5) if amount else image


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """Reading all lines or one of them, whether there is text, in how many lines, and in which language."""
    make, lines = Maker(scene, _reading.TABLE, language, wording), scene.lines
    yield make.read(make.question("read"), lines, tags=() if lines else ("empty",))
    if not lines or make.rng.random() < 0.05:  # as often yes as no
        yield make.ask("presence", make.question("any"), _words.YES[language] if lines else _words.NO[language])
    if not lines or scene.difficulty == "crowded":
        return
    yield make.ask("count", make.question("lines"), str(len(lines)), extra={"value": len(lines)})
    if scene.facts["plate"]:
        yield make.ask("read_line", make.question("plate"), lines[0].string, tags=("plate",))
    elif len(lines) == 1:
        yield make.ask("read_line", make.question("single"), lines[0].string)
    else:
        row = make.rng.randrange(len(lines))
        yield make.ask("read_line", make.question("line", n=row + 1), lines[row].string)
        yield make.ask("read_line", make.question("last"), lines[-1].string)
    if scene.facts["real"]:
        yield make.ask("identify", make.question("language"), _reading.NAMES[language][scene.facts["language"]])
    if make.rng.random() < 0.1:
        yield make.ask("unknown", *_beyond.question(make.rng, language, wording))
