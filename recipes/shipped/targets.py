"""What a scene's picture holds, cell by cell, in the frame that the encoder sees: the truth of its dense head."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imglish.core.codecs import Fitted, Pad
from imglish.world._scene import Scene

CELL, SLOT = 8, 4  # pixels of the frame: side of a map cell, width of a character's slot
FINE = 2  # pixels of the frame to a mask bit
IGNORE = -100
SPACE = " "
PRECOMPOSED = "ąćęłńóśźżàáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđйё"
PLAIN = "".join(map(chr, range(33, 127))) + "đĐłŁ€£°№–—×абвгдежзиклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
LETTERS = ("", *PLAIN, SPACE)
MARKS = ("", *sorted({unicodedata.normalize("NFD", letter)[1:] for letter in PRECOMPOSED} - {""}))


def spell(character: str) -> tuple[int, int]:
    """Numbers of a character's base letter and of its marks, for example é -> e and the acute."""
    parts = unicodedata.normalize("NFD", character)
    base, marks = parts[:1], parts[1:]
    if base not in LETTERS or marks not in MARKS:
        return IGNORE, IGNORE
    return LETTERS.index(base), MARKS.index(marks)


SPELLED = {letter: spell(letter) for letter in {*LETTERS[1:], *PRECOMPOSED, *PRECOMPOSED.upper()}}


def frame(image: Image.Image, side: int) -> tuple[NDArray[np.uint8], Fitted]:
    """The picture letterboxed to `side`, as bytes, and the fit that maps its coordinates."""
    fitted = Pad((side, side)).fit(image.size)
    return np.asarray(fitted.apply(image)), fitted


def targets(scene: Scene, index: int, classes: dict[str, int], colours: dict[str, int], side: int) -> dict[str, Any]:
    """Arrays for picture `index`: pixels, class, colour, box, mask, letter, mark; -100: nothing to learn."""
    pixels, fitted = frame(scene.images[index], side)
    cells, fine = side // CELL, side // FINE
    things = [thing for thing in scene.things if thing.image == index and thing.name in classes]
    owner = np.zeros((fine, fine), np.uint8)
    boxes = np.zeros((len(things) + 1, 4), np.float32)
    for number, thing in enumerate(things, 1):
        x1, y1, x2, y2 = thing.box
        corners = np.asarray(fitted.forward(np.array([[x1, y1], [x2, y2]], float)), np.float32).reshape(4)
        boxes[number] = corners / side
        left, top = (int(v) // FINE for v in corners[:2])
        right, bottom = (min(-(-int(np.ceil(v)) // FINE), fine) for v in corners[2:])
        if right <= left or bottom <= top:
            continue
        ys = (((np.arange(top, bottom) + 0.5) * FINE - fitted.pad_y) / fitted.scale_y).astype(int)
        xs = (((np.arange(left, right) + 0.5) * FINE - fitted.pad_x) / fitted.scale_x).astype(int)
        height, width = thing.bitmap.shape
        part = thing.bitmap[np.clip(ys, 0, height - 1)[:, None], np.clip(xs, 0, width - 1)[None]]
        owner[top:bottom, left:right][part] = number
    bits = owner.reshape(cells, 4, cells, 4).transpose(0, 2, 1, 3).reshape(cells * cells, 16)
    counts = np.stack([(bits == number).sum(1) for number in range(len(things) + 1)], 1)
    counts[:, 0] = 1  # two of sixteen bits make a cell an object's
    best = counts.argmax(1)
    names = np.array([0, *(classes[t.name] for t in things)])
    shades = np.array([IGNORE, *(colours.get(t.colour, IGNORE) for t in things)])
    letter = np.zeros((cells * cells, 2), np.int64)
    mark = np.zeros((cells * cells, 2), np.int64)
    for line in scene.lines:
        if line.image == index and line.string:
            places = np.asarray(fitted.forward(np.asarray(line.centres, float)))
            for character, (x, y) in zip(line.string, places, strict=True):
                if 0 <= x < side and 0 <= y < side:
                    cell, slot = int(y) // CELL * cells + int(x) // CELL, int(x) // SLOT % 2
                    if character == SPACE and letter[cell, slot]:
                        continue  # a letter shares its slot
                    letter[cell, slot], mark[cell, slot] = SPELLED.get(character, (IGNORE, IGNORE))
    return {
        "pixels": pixels, "class": names[best], "colour": shades[best], "box": boxes[best],
        "mask": (bits == best[:, None]) & (best > 0)[:, None], "letter": letter, "mark": mark,
    }  # fmt: skip
