"""A shop's receipt: the picture, its fields, and a running description of what was bought."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from PIL import Image, ImageDraw

from imglish.core.results import Text
from imglish.core.types import Point, Sample, Size
from imglish.world import _beyond, _lexicon, _papers, _text
from imglish.world._forms import Maker
from imglish.world._scene import LANGUAGES, Language, Scene, TextLine, Wording

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "hard", "crowded")
SIZE: Size = (192, 240)
MISSING = "N/A"
# items, font height of the default size, turn in degrees, grain, chance that a field is missing
_EASY = ((2, 2), 17, 0.0, (0, 2), 0.0)
_ORDINARY = ((2, 4), 16, 2.0, (0, 6), 0.08)
_HARD = ((3, 6), 13, 6.0, (4, 14), 0.12)
_CROWDED = ((6, 9), 13, 2.0, (0, 8), 0.08)
_LEVELS = {"easy": _EASY, "ordinary": _ORDINARY, "hard": _HARD, "crowded": _CROWDED}
Row = tuple[str, str, str]  # left, right, style: plain, bold, centre, rule


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """A receipt with 2-4 items (more when hard or crowded); `facts` has its items as (name, price in cents)."""
    rng = Random(f"receipt/{VERSION}/{seed}/{size}/{difficulty}")
    (low, high), px, turn, (calm, loud), gap = _LEVELS[difficulty]
    language = rng.choice(LANGUAGES)
    items = _items(rng, language, rng.randint(low, high))
    total = _money(sum(price for _, price in items))
    fields = {"shop": _shop(rng, language), "date": _date(rng), "total": total}
    fields = {name: MISSING if rng.random() < gap else value for name, value in fields.items()}
    rows = _rows(rng, language, items, fields)
    fields["items"] = ", ".join(f"{name} {_money(price)}" for name, price in items)
    angle = rng.randint(-round(turn * 10), round(turn * 10)) / 10 if rng.random() < 0.4 else 0.0
    image, ink, paper = _ground(rng, size, angle)
    lines = _print(image, rows, paper, _font(rng, rows, px, size, paper), ink, angle)
    if amount := rng.randint(calm, loud):
        image = _text.grain(image, rng, amount, grey=True)
    facts = {"language": language, "items": tuple(items)}
    return Scene("receipt", seed, size, difficulty, (image,), lines=lines, fields=fields, facts=facts)


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _items(rng: Random, language: Language, count: int) -> list[tuple[str, int]]:
    names = rng.sample(_papers.choices(_papers.GOODS[language]), count)
    for index in range(count):
        if rng.random() < 0.25:  # a name nobody has seen, so that it has to be read
            new = " ".join(_lexicon.invented(rng, language, 2) for _ in range(2 if language == "vi" else 1))[:9].strip()
            names[index] = new if new not in names else names[index]
    style = rng.choice((str.lower, str.capitalize, str.upper))
    steps = rng.choice((1, 5, 10, 50))
    return [(style(name), rng.randrange(50, 3000) // steps * steps) for name in names]


def _shop(rng: Random, language: Language) -> str:
    own = _lexicon.invented(rng, language, 2).capitalize()
    kind = rng.choice(_papers.choices(_papers.SHOPS[language]))
    text = f"{own} {kind}" if language == "en" else f"{kind} {own}"
    text = text if len(text) <= 14 else own
    return text.upper() if rng.random() < 0.4 else text


def _date(rng: Random) -> str:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2015, 2039)
    form = rng.randrange(3)
    return (f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{day:02d}/{month:02d}/{year}")[form]


def _rows(rng: Random, language: Language, items: list[tuple[str, int]], fields: dict[str, str]) -> list[Row]:
    rows: list[Row] = []
    if fields["shop"] != MISSING:
        rows.append((fields["shop"], "", "title"))
    if fields["date"] != MISSING:
        rows.append((fields["date"], "", rng.choice(("centre", "plain"))))
    rows.append(("", "", "rule"))
    rows += [(name, _money(price), "plain") for name, price in items]
    rows.append(("", "", "rule"))
    if fields["total"] != MISSING:
        rows.append((rng.choice(_papers.choices(_papers.TOTALS[language])), fields["total"], "bold"))
    if rng.random() < 0.35:
        rows.append((rng.choice(_papers.THANKS[language].split("|")), "", "centre"))
    return rows


def _face(base: str, style: str, string: str) -> str:
    return _text.face_for(string, f"{base} bold" if style in ("bold", "title") else base)


def _font(rng: Random, rows: list[Row], px: int, size: Size, paper: tuple[int, int, int, int]) -> tuple[str, int]:
    """The face and the largest height, up to a little over `px`, at which every row fits on the paper."""
    base = rng.choice(("mono", "mono", "mono", "sans"))
    unit = min(size[0] / SIZE[0], size[1] / SIZE[1])
    wide, high = paper[2] - paper[0], paper[3] - paper[1]
    px = round((px + rng.randint(-1, 2)) * unit)
    while px > 5:
        widths = [_text.width(f"{a}{' ' if b else ''}{b}", _face(base, style, a), px) for a, b, style in rows]
        if max(widths) <= wide - px and _height(rows, px) <= high - px * 0.6:
            break
        px -= 1
    return base, px


def _height(rows: list[Row], px: int) -> float:
    return sum(px * (0.6 if style == "rule" else 1.35) for _, _, style in rows)


def _ground(rng: Random, size: Size, angle: float) -> tuple[Image.Image, _text.Colour, tuple[int, int, int, int]]:
    """A table, and on it a sheet of light paper (turned with the text): the picture, the ink, the sheet's box."""
    table = (rng.randrange(30, 180), rng.randrange(30, 180), rng.randrange(30, 180))
    level = rng.randrange(226, 254)
    sheet = (level, level - rng.randrange(8), level - rng.randrange(18))
    ink = rng.choice(((10, 10, 12), (40, 40, 46), (30, 30, 90), (70, 40, 60)))
    image = Image.new("RGB", size, table)
    edge = 2 + math.ceil(size[1] / 2 * abs(math.sin(math.radians(angle))))
    top = 2 + math.ceil(size[0] / 2 * abs(math.sin(math.radians(angle))))
    box = (edge + rng.randrange(4), top + rng.randrange(6), size[0] - edge - rng.randrange(4), size[1] - top)
    corners = ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]))
    ImageDraw.Draw(image).polygon([_turn(corner, size, angle) for corner in corners], fill=sheet)
    return image, ink, box


def _turn(point: Point, size: Size, angle: float) -> Point:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = point[0] - size[0] / 2, point[1] - size[1] / 2
    return round(cos * x - sin * y + size[0] / 2), round(sin * x + cos * y + size[1] / 2)


def _print(
    image: Image.Image,
    rows: list[Row],
    paper: tuple[int, int, int, int],
    font: tuple[str, int],
    ink: _text.Colour,
    angle: float,
) -> tuple[TextLine, ...]:
    base, px = font
    left, right, lines = paper[0] + px * 0.5, paper[2] - px * 0.5, []
    space = (paper[3] - paper[1] - _height(rows, px)) / (len(rows) + 1)
    y, space = paper[1] + min(space, px * 0.5), min(space, px * 0.5)
    for first, second, style in rows:
        step = px * (0.6 if style == "rule" else 1.35)
        middle = y + step / 2
        if style == "rule":
            ends = (_turn((left, middle), image.size, angle), _turn((right, middle), image.size, angle))
            ImageDraw.Draw(image).line([*ends[0], *ends[1]], fill=ink)
        elif style in ("title", "centre"):
            at = _turn(((left + right) / 2, middle), image.size, angle)
            face = _face(base, style, first)
            lines.append(_text.write(image, first, at, px, face=face, colour=ink, angle=angle, anchor="centre"))
        else:
            for string, x, anchor in ((first, left, "left"), (second, right, "right")):
                if string:
                    at, face = _turn((x, middle), image.size, angle), _face(base, style, first)
                    lines.append(_text.write(image, string, at, px, face=face, colour=ink, angle=angle, anchor=anchor))
        y += step + space
    return tuple(lines)


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """The fields as a record, a description, and short questions about shop, date, prices and total."""
    make = Maker(scene, _papers.RECEIPT, language, wording)
    fields, items = scene.fields, scene.facts["items"]
    yield make.extract(make.question("fields"), fields, _papers.ABOUT)
    yield _summary(make, scene)
    asked = make.rng.choice(("total", "shop", "date"))
    yield make.ask("read_line", make.question(asked), fields[asked], tags=(asked,))
    name, price = make.rng.choice(items)
    if make.rng.random() < 0.1:
        known = {item.lower() for item, _ in items}
        others = [word for word in _papers.choices(_papers.GOODS[scene.facts["language"]]) if word not in known]
        absent = make.rng.choice(others)
        absent = absent.upper() if name.isupper() else absent.capitalize() if name[0].isupper() else absent
        yield make.ask("read_line", make.question("price", name=absent), MISSING, tags=("price", "absent"))
    else:
        yield make.ask("read_line", make.question("price", name=name), _money(price), tags=("price",))
    most = max(price for _, price in items)
    if sum(price == most for _, price in items) == 1:
        dearest = max(items, key=lambda item: item[1])[0]
        yield make.ask("read_line", make.question("dearest"), dearest, tags=("dearest",))
    yield make.ask("count", make.question("count"), str(len(items)), extra={"value": len(items)})
    if make.rng.random() < 0.15:
        yield make.ask("unknown", make.question("unknown"), _beyond.UNKNOWN[language])


def _summary(make: Maker, scene: Scene) -> Sample:
    fields, items, rng = scene.fields, scene.facts["items"], make.rng
    detail, tone = rng.choice(("brief", "normal", "full")), rng.choice(("factual", "factual", "positive", "negative"))
    text = make.say("head")
    if fields["shop"] != MISSING:
        text += make.say("from", shop=fields["shop"])
    if fields["date"] != MISSING and detail != "brief":
        text += make.say("dated", date=fields["date"])
    text += "." if detail == "brief" else f": {fields['items']}."
    if fields["total"] != MISSING:
        text += make.say("sum", total=fields["total"])
    if detail == "full":
        name, price = max(items, key=lambda item: item[1])
        text += make.say("more", count=len(items), name=name, price=_money(price))
    question = make.question("summary")
    if tone != "factual":
        text += make.say(tone)
        question += " " + make.choose(_papers.TONES, tone)
    return make.sample("caption", "summary", question, text, Text(text=text), detail=detail, tags=(detail, tone))
