"""A surface of metal, fabric, wood or concrete, sound or with a scratch, hole, stain, crack or dent in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from imglish.core.errors import UnknownName
from imglish.core.geometry import bitmap_to_polygons, box_of_bitmap
from imglish.core.results import Boxes, Text
from imglish.core.types import Sample, Size
from imglish.world._defects import spoil
from imglish.world._forms import Maker
from imglish.world._inspection import NAMES, PLACES, SOUND, SPOILT, TABLE
from imglish.world._questions import TABLE as QUESTIONS
from imglish.world._scene import Language, Scene, Thing, Wording
from imglish.world._surface import DEFECTS, MATERIALS, surface
from imglish.world._words import NO, NOTHING, YES

VERSION = 1
DIFFICULTIES = ("ordinary", "crowded", "repeats")
SIZE: Size = (192, 192)
DETAILS = ("brief", "normal", "full")
_PAINTS = ((196, 40, 44), (40, 92, 190), (236, 200, 40), (40, 140, 70), (240, 240, 240))


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """One half of the surfaces is sound. `crowded` is rough and carries harmless paint, `repeats` has 2-3 of a defect.

    `facts`: `material`, `defect` (the class, "" when sound).
    """
    if difficulty not in DIFFICULTIES:
        raise UnknownName("difficulty", difficulty, DIFFICULTIES)
    rng = Random(f"part/{VERSION}/{seed}/{size}/{difficulty}")
    material = rng.choice(MATERIALS)
    pixels = surface(rng, material, size=size, rough=difficulty == "crowded")
    if difficulty == "crowded":
        pixels = _painted(rng, pixels)
    defect = rng.choice(DEFECTS) if rng.random() < 0.5 else ""
    things: list[Thing] = []
    wanted = 0 if not defect else rng.randint(2, 3) if difficulty == "repeats" else 1
    for _ in range(wanted * 12):
        if len(things) == wanted:
            break
        _add(things, pixels, rng, defect)
    image = Image.fromarray(pixels.astype(np.uint8))
    facts = {"material": material, "defect": defect if things else ""}
    return Scene("part", seed, size, difficulty, (image,), tuple(things), facts=facts)


def _add(things: list[Thing], pixels: Any, rng: Random, defect: str) -> None:
    """One more of the defect, unless it would come near another one or is too small to see."""
    tried = pixels.copy()
    bitmap = spoil(tried, rng, defect)
    box = box_of_bitmap(bitmap)
    if box is None or max(box[2] - box[0], box[3] - box[1]) < min(pixels.shape[:2]) // 14:
        return
    for other in (thing.box for thing in things):
        if box[0] < other[2] + 6 and other[0] < box[2] + 6 and box[1] < other[3] + 6 and other[1] < box[3] + 6:
            return
    pixels[...] = tried
    things.append(Thing(defect, "", box, bitmap_to_polygons(bitmap, 0.75)[0], bitmap))


def _painted(rng: Random, pixels: Any) -> Any:
    """Dots, rings, crosses and bars of bright paint: marks that a works leaves on purpose."""
    image = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 4)):
        paint, form, r = rng.choice(_PAINTS), rng.randrange(4), max(3, min(image.size) * rng.randint(4, 9) // 192)
        x, y = rng.randrange(r, image.width - r), rng.randrange(r, image.height - r)
        if form == 0:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=paint)
        elif form == 1:
            pen.ellipse((x - r, y - r, x + r, y + r), outline=paint, width=max(2, r // 3))
        elif form == 2:
            pen.rectangle((x - r, y - 1, x + r, y + 1), fill=paint)
            pen.rectangle((x - 1, y - r, x + 1, y + r), fill=paint)
        else:
            pen.rectangle((x - 2 * r, y - r // 2, x + 2 * r, y + r // 2), fill=paint)
    return np.asarray(image).astype(np.int32)


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """Whether there is a defect, which one, where, what a region shows, of what the surface is, and captions."""
    maker, names = Maker(scene, TABLE, language, wording), NAMES[language]
    rng, defect, word = maker.rng, scene.facts["defect"], names["defect"]
    answer = (YES if defect else NO)[language]
    yield maker.ask("defect", maker.question("defect"), answer, tags=("yes or no",), extra={"value": bool(defect)})
    yield maker.ask("defect", maker.question("which"), names[defect], tags=("which",))
    yield _boxes(maker, "detect", word, scene.things)
    yield _boxes(maker, "ground", word, scene.things)
    kind = defect if defect and rng.random() < 0.5 else rng.choice(DEFECTS)
    yield _boxes(maker, "detect", names[kind], scene.things if kind == defect else ())
    if scene.things:
        thing = rng.choice(scene.things)
        asked = maker.choose(QUESTIONS, "identify")
        yield maker.sample("identify", "identify", asked, names[defect], Text(text=names[defect]), region=thing.box)
    yield maker.ask("identify", maker.question("material"), names[scene.facts["material"]], tags=("material",))
    level = rng.randrange(3)
    asked, detail = maker.choose(QUESTIONS, ("caption_brief", "caption", "caption_full")[level]), DETAILS[level]
    answer = _caption(scene, language, level)
    yield maker.sample("caption", "caption", asked, answer, Text(text=answer), detail=detail)


def _boxes(maker: Maker, skill: str, label: str, things: Sequence[Thing]) -> Sample:
    """Where the things are, all called `label`; as much of a question when there are none."""
    boxes = np.array([thing.box for thing in things], np.float64).reshape(-1, 4)
    truth = Boxes(xyxy=boxes, labels=(label,) * len(things), size=maker.scene.size)
    answer = ", ".join(truth.labels) or NOTHING[maker.language]
    asked = maker.question(skill, name=label)
    question = asked if skill == "ground" else asked[0].upper() + asked[1:]
    labels = (label,) if skill == "detect" else ()
    return maker.sample(skill, "defect_box", question, answer, truth, labels=labels)


def _caption(scene: Scene, language: Language, level: int) -> str:
    names, count = NAMES[language], len(scene.things)
    defect, material = names[scene.facts["defect"]], names[scene.facts["material"]]
    if not count:
        return SOUND[language][level].format(material=material)
    if count > 1:
        level, defect = min(level, 1), _several(names, scene.facts["defect"], count, language)
    elif language == "en":
        defect = f"a {defect}"
    (x1, y1, x2, y2), (width, height) = scene.things[0].box, scene.size
    column, row = int((x1 + x2) * 3 / (2 * width + 1)), int((y1 + y2) * 3 / (2 * height + 1))
    where = PLACES[language][row][column]
    return SPOILT[language][level].format(defect=defect, material=material, where=where)


def _several(names: dict[str, str], defect: str, count: int, language: Language) -> str:
    if language == "en":
        return f"{count} {defect}{'es' if defect == 'scratch' else 's'}"
    return f"{count} × {names[defect]}"
