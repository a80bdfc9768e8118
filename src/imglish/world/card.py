"""An identity card, badge or pass with a portrait: the JSON of its fields, "N/A" where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from PIL import Image, ImageDraw

from imglish.core.results import Text
from imglish.core.types import Box, Sample, Size
from imglish.world import _beyond, _lexicon, _papers, _text
from imglish.world._forms import Maker
from imglish.world._scene import LANGUAGES, Language, Scene, TextLine, Wording

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "hard", "crowded")
SIZE: Size = (224, 160)
MISSING = "N/A"
FIELDS = ("name", "surname", "number", "birth_date", "country")
# fields on the card, font height of the default size, grain, chance that a field is missing, chance of shuffled rows
_FACES = ("sans", "sans bold", "serif", "mono", "serif bold")
_EASY = (3, 16, (0, 2), 0.0, 0.0)
_ORDINARY = (5, 14, (0, 6), 0.12, 0.2)
_HARD = (5, 11, (6, 16), 0.2, 0.5)
_CROWDED = (5, 12, (0, 10), 0.12, 0.8)
_LEVELS = {"easy": _EASY, "ordinary": _ORDINARY, "hard": _HARD, "crowded": _CROWDED}


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """A card with up to five fields; a missing one is left out or has a dash. Crowded ones have rows of no use."""
    rng = Random(f"card/{VERSION}/{seed}/{size}/{difficulty}")
    count, px, (calm, loud), gap, shuffled = _LEVELS[difficulty]
    language = rng.choice(LANGUAGES)
    values = _person(rng, language)
    asked = sorted(rng.sample(FIELDS, count), key=FIELDS.index)
    fields = {name: MISSING if rng.random() < gap else values[name] for name in asked}
    rows = [(_papers.LABELS[language][FIELDS.index(name)], fields[name]) for name in asked]
    dash = rng.random() < 0.5
    rows = [(label, "—" if value == MISSING else value) for label, value in rows if dash or value != MISSING]
    if difficulty == "crowded":
        rows += [(_lexicon.cased(rng, _lexicon.invented(rng, language, 1))[:4], _lexicon.figure(rng)) for _ in range(2)]
    if rng.random() < shuffled:
        rng.shuffle(rows)
    title = rng.choice(_papers.choices(_papers.TITLES[language]))
    image, lines = _compose(rng, size, title, rows, px)
    if amount := rng.randint(calm, loud):
        image = _text.grain(image, rng, amount, grey=rng.random() < 0.5)
    facts = {"language": language, "title": title}
    return Scene("card", seed, size, difficulty, (image,), lines=lines, fields=fields, facts=facts)


def _person(rng: Random, language: Language) -> dict[str, str]:
    surname = rng.choice(_papers.choices(_papers.SURNAMES[language]))
    if rng.random() < 0.4:  # a name nobody has seen, so that it has to be read
        surname = _lexicon.invented(rng, language, 2).capitalize()[:9].strip()
    name = rng.choice(_papers.choices(_papers.GIVEN[language]))
    style = rng.choice((str, str, str.upper))
    form = rng.choice(("{:02d}.{:02d}.{}", "{:02d}/{:02d}/{}", "{:02d}-{:02d}-{}"))
    letters = "".join(rng.choices("ABCDEFGHKLMNPRSTUWXYZ", k=rng.randint(0, 3)))
    number = f"{letters} {_lexicon.digits(rng, rng.randint(4, 6))}".strip()
    return {
        "name": style(name),
        "surname": style(surname),
        "number": number,
        "birth_date": form.format(rng.randint(1, 28), rng.randint(1, 12), rng.randint(1940, 2012)),
        "country": rng.choice(_papers.choices(_papers.COUNTRIES[language])),
    }


def _compose(
    rng: Random, size: Size, title: str, rows: list[tuple[str, str]], px: int
) -> tuple[Image.Image, tuple[TextLine, ...]]:
    """Board, title band, portrait on one side and the rows on the other; the font shrinks until all rows fit."""
    unit = min(size[0] / SIZE[0], size[1] / SIZE[1])
    image, board, band, ink, faint = _board(rng, size, unit)
    left, top, right, bottom = board
    px = round((px + rng.randint(-1, 2)) * unit)
    head = top + round(24 * unit)
    wide = round(52 * unit)
    portrait_left = rng.random() < 0.65
    x = left + wide + 12 * unit if portrait_left else left + 6 * unit
    limit = right - 5 * unit if portrait_left else right - wide - 10 * unit
    faces, px = _fitted(rows, rng.choice(_FACES), px, (limit - x, bottom - head - 4 * unit), round(12 * unit))
    spot = left + 6 * unit if portrait_left else right - wide - 5 * unit
    _portrait(rng, image, (spot, head + 8 * unit, spot + wide, min(bottom - 8 * unit, head + 86 * unit)))
    lines = [_title(image, title, board, head, band)]
    step = min(px * 1.75, (bottom - head - 4 * unit) / max(1, len(rows)))
    for row, ((label, value), one) in enumerate(zip(rows, faces, strict=True)):
        y = head + 3 * unit + step * (row + 0.5)
        lines.append(_text.write(image, f"{label}:", (x, y), px, face=one, colour=faint))
        after = x + _text.width(f"{label}: ", one, px)
        lines.append(_text.write(image, value, (after, y), px, face=one, colour=ink))
    return image, tuple(lines)


def _fitted(
    rows: list[tuple[str, str]], face: str, px: int, room: tuple[float, float], least: int
) -> tuple[list[str], int]:
    """A face for each row, and the largest height up to `px` at which all fit; a narrow face where that gets small."""
    for base, floor in ((face, least), ("sans", 5)):
        faces = [_text.face_for(label + value, base) for label, value in rows]
        for height in range(px, floor - 1, -1):
            widths = [_text.width(f"{a}: {b}", one, height) for (a, b), one in zip(rows, faces, strict=True)]
            if max(widths, default=0) <= room[0] and len(rows) * height * 1.25 <= room[1]:
                return faces, height
    return faces, 5


def _title(image: Image.Image, title: str, board: tuple[int, int, int, int], head: int, band: bool) -> TextLine:
    px = max(5, round((head - board[1]) * 0.66))
    face = _text.face_for(title, "sans bold")
    while px > 5 and _text.width(title, face, px) > board[2] - board[0] - px:
        px -= 1
    at = ((board[0] + board[2]) / 2, (board[1] + head) / 2 + 1)
    colour = (250, 250, 250) if band else (20, 20, 30)
    return _text.write(image, title, at, px, face=face, colour=colour, anchor="centre")


def _board(
    rng: Random, size: Size, unit: float
) -> tuple[Image.Image, tuple[int, int, int, int], bool, _text.Colour, _text.Colour]:
    """The table, the card's board with rounded corners, the band behind the title, and two inks."""
    hue = [rng.randrange(20, 120) for _ in range(3)]
    image = Image.new("RGB", size, (rng.randrange(40, 200), rng.randrange(40, 200), rng.randrange(40, 200)))
    edge = [round(rng.uniform(2, 7) * unit) for _ in range(4)]
    board = (edge[0], edge[1], size[0] - 1 - edge[2], size[1] - 1 - edge[3])
    light = (rng.randrange(218, 255), rng.randrange(218, 255), rng.randrange(218, 255))
    pencil = ImageDraw.Draw(image)
    radius = round(8 * unit)
    pencil.rounded_rectangle(board, radius, fill=light)
    band = rng.random() < 0.6
    if band:
        box = (board[0], board[1], board[2], board[1] + round(24 * unit))
        pencil.rounded_rectangle(box, radius, fill=(hue[0], hue[1], hue[2]), corners=(True, True, False, False))
    if rng.random() < 0.4:  # wavy guard lines, as cards have
        faded = (light[0] - 12, light[1] - 12, light[2] - 12)
        for y in range(board[1] + round(30 * unit), board[3] - 4, max(3, round(9 * unit))):
            pencil.line((board[0] + 3, y, board[2] - 3, y - round(rng.randint(-4, 4) * unit)), fill=faded)
    ink = rng.choice(((12, 12, 16), (16, 24, 84), (60, 16, 16)))
    return image, board, band, ink, (ink[0] + 50, ink[1] + 50, ink[2] + 50)


def _portrait(rng: Random, image: Image.Image, box: Box) -> None:
    """Head, hair and shoulders of nobody in particular."""
    left, top, right, bottom = (round(value) for value in box)
    wide, high = right - left, bottom - top
    back = (rng.randrange(150, 230), rng.randrange(150, 230), rng.randrange(150, 230))
    skin = rng.choice(((246, 214, 186), (224, 172, 124), (150, 98, 62), (96, 60, 40)))
    hair = rng.choice(((30, 22, 18), (96, 56, 24), (214, 168, 72), (150, 150, 154)))
    shirt = (rng.randrange(200), rng.randrange(200), rng.randrange(200))
    part = Image.new("RGB", (wide, high), back)
    pencil = ImageDraw.Draw(part)
    x, y, r = wide / 2, high * 0.42, min(wide, high) * 0.22
    pencil.ellipse((x - wide * 0.42, high * 0.72, x + wide * 0.42, high * 1.4), fill=shirt)
    pencil.rectangle((x - r * 0.4, y + r * 0.6, x + r * 0.4, high * 0.78), fill=skin)
    pencil.ellipse((x - r * 1.15, y - r * 1.4, x + r * 1.15, y + r * rng.choice((0.4, 1.3))), fill=hair)
    pencil.ellipse((x - r * 0.9, y - r, x + r * 0.9, y + r * 1.15), fill=skin)
    for side in (-1, 1):
        pencil.ellipse((x + side * r * 0.4 - 1.5, y - 1.5, x + side * r * 0.4 + 1.5, y + 1.5), fill=(20, 20, 24))
    pencil.arc((x - r * 0.4, y + r * 0.2, x + r * 0.4, y + r * 0.75), 20, 160, fill=(120, 40, 40))
    image.paste(part, (left, top))
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), outline=(70, 70, 80))


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """The fields as a record (all; sometimes a few, in another order), a description, questions about two fields."""
    make, fields = Maker(scene, _papers.CARD, language, wording), scene.fields
    yield make.extract(make.question("fields"), fields, _papers.ABOUT)
    if make.rng.random() < 0.4:
        some = make.rng.sample(sorted(fields), make.rng.randint(1, len(fields) - 1))
        yield make.extract(make.question("fields"), {name: fields[name] for name in some}, _papers.ABOUT)
    yield _summary(make, scene)
    for name in make.rng.sample(sorted(fields), 2):
        yield make.ask("read_line", make.question(name), fields[name], tags=(name,))
    if make.rng.random() < 0.15:
        yield make.ask("unknown", make.question("unknown"), _beyond.UNKNOWN[language])


def _summary(make: Maker, scene: Scene) -> Sample:
    fields = {name: value for name, value in scene.fields.items() if value != MISSING}
    detail = make.rng.choice(("brief", "normal", "full"))
    text = make.say("head", title=scene.facts["title"])
    if who := " ".join(fields[name] for name in ("name", "surname") if name in fields):
        text += make.say("holder", who=who)
    if "birth_date" in fields and detail != "brief":
        text += make.say("born", date=fields["birth_date"])
    if detail == "full":
        text += make.say("numbered", n=fields["number"]) if "number" in fields else ""
        text += make.say("home", land=fields["country"]) if "country" in fields else ""
    question = make.question("summary")
    return make.sample("caption", "summary", question, text, Text(text=text), detail=detail, tags=(detail, "factual"))
