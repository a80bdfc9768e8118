"""How the shipped family writes: prompts, answers and samples as pieces and token ids. No torch.

    <bos><image>...<user><detect> cat, dog<assistant>cat<loc_3><loc_9><loc_40><loc_51><eos>

All images stand first, so that many questions can share one image prefix. A second turn is another
`<user>...<assistant>...<eos>`. Questions and labels begin as in the middle of a sentence. An outline stands behind the
box of its thing: `<poly>`, four locations, then two for each point. Where no word of the question tells the language of
the answer (`identify`, `detect` everything), and it is not English, `<sep>` and its code end the question. Names of
things are written small and without an article, however they were asked for. There is no place for a system message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from imglish.core import geometry
from imglish.core.codecs import Bins, Codec, Pad
from imglish.core.images import open_image
from imglish.core.types import Polygon, Request, Sample, Size
from imglish.families import _fields
from imglish.families._base import (
    Control,
    Encoded,
    Frames,
    Picture,
    Piece,
    Plain,
    Spelled,
    encode_pieces,
    request_images,
)

FRAME = 192  # the model sees every image letterboxed into FRAME x FRAME pixels
BINS = 128
CODEC = Codec(Pad((FRAME, FRAME)), Bins(BINS))
POLYGON_POINTS = 12

SKILLS = ("ask", "caption", "detect", "ground", "segment", "read", "identify", "count", "extract", "watch")
LOCATIONS = tuple(f"<loc_{number}>" for number in range(BINS))
SPECIAL_TOKENS = (
    "<pad>", "<bos>", "<eos>", "<image>", "<user>", "<assistant>", "<none>", "<sep>", "<poly>", "<box>",
    *(f"<{skill}>" for skill in SKILLS), *LOCATIONS,
)  # fmt: skip
"""In the order of their ids. A checkpoint depends on it: append, never reorder."""


def prompt_pieces(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    """The request with its chat history, up to and with the last `<assistant>`."""
    _, frames = request_images(request)
    pieces: list[Piece] = [Control("<bos>")]
    stills = [index for index, is_frame in enumerate(frames) if not is_frame]
    video = tuple(index for index, is_frame in enumerate(frames) if is_frame)
    pieces.extend(Picture(index) for index in stills)
    if video:
        pieces.append(Frames(video))
    turns = [message for message in request.messages if message.role != "system"]
    for message in turns[:-1]:
        if message.role == "user":
            pieces += [Control("<user><ask>"), Plain(flowing(message.text)), Control("<assistant>")]
        else:
            pieces += [Plain(message.text), Control("<eos>")]
    skill = "ask" if request.skill == "chat" else request.skill
    pieces += [Control(f"<user><{skill}>"), *_argument(request, sizes), Control("<assistant>")]
    return pieces


def flowing(text: str) -> str:
    """Words as in the middle of a sentence: "Queen: colour?" has the token of "the queen" then, not "Q", "ue", "en"."""
    if text[:1].isupper() and text[1:2].islower():
        text = text[0].lower() + text[1:]
    return text if not text or text[0].isspace() else f" {text}"


_ARTICLE = re.compile(r"(?:an?|the) (?=\S)")


def named(name: str, language: str) -> str:
    """The name of a thing as the model knows it: "The Pencil" is "pencil"."""
    small = phrased(name)
    return _ARTICLE.sub("", small, count=1) if language == "en" and _ARTICLE.match(small) else small


def phrased(text: str) -> str:
    """A phrase in small letters and single spaces; the word I stays."""
    return " ".join(word if word == "I" else word.lower() for word in text.split())


def asked_names(request: Request) -> dict[str, str]:
    """What detect looks for: each name as the model knows it, with what the user wrote."""
    found: dict[str, str] = {}
    for label in request.labels:
        if label.strip():
            found.setdefault(named(label, request.language), label.strip())
    return found


def _argument(request: Request, sizes: Sequence[Size]) -> list[Piece]:
    pieces: list[Piece] = []
    if request.skill == "identify" and request.region is not None:
        pieces.append(Control(boxes_text([request.region], sizes[0])[0]))
    elif request.skill == "caption":
        pieces.append(Plain(f"{request.detail}:{flowing(request.text)}" if request.text else request.detail))
    elif request.skill == "detect":
        pieces.append(Plain(",".join(map(flowing, asked_names(request)))))
    elif request.skill == "extract":
        pieces.append(Plain(", ".join(leaf.title for leaf in _fields.leaves(request.schema or {}))))
    elif request.skill == "count":
        pieces.append(Plain(flowing(named(request.text, request.language))))
    elif request.skill in ("ground", "segment"):
        pieces.append(Plain(flowing(phrased(request.text))))
    elif request.skill not in ("read", "identify"):
        pieces.append(Plain(flowing(request.text)))
    # what names things without being told a word says in which language; any word of the question says it too
    told = request.text if request.skill == "caption" else request.labels if request.skill == "detect" else None
    if request.language != "en" and request.skill in ("caption", "detect", "identify") and not told:
        pieces += [Control("<sep>"), Plain(request.language)]
    return pieces


def answer_pieces(sample: Sample, sizes: Sequence[Size]) -> list[Piece]:
    """The truth of a sample as the model is to write it, without the final `<eos>`."""
    truth, size = sample.truth, sizes[0] if sizes else (1, 1)
    if sample.skill in ("detect", "ground"):
        language = sample.language if sample.labels else None
        return _boxes(truth, size, labels=sample.skill == "detect", language=language)
    if sample.skill == "segment":
        return _masks(truth, size)
    if sample.skill == "read":
        return _lines(truth, size)
    if sample.skill == "extract":
        lines = _fields.write(sample.schema or truth.schema, truth.data)
        return _interleave([_field(line) for line in lines], Control("<sep>"))
    return [Spelled(sample.answer) if sample.topic == "read_line" else Plain(sample.answer)]


def _field(line: str) -> list[Piece]:
    title, separator, value = line.partition(": ")
    return [Plain(title + separator), Spelled(value)]


def _boxes(truth: Any, size: Size, *, labels: bool, language: str | None) -> list[Piece]:
    """Each with its label where `labels`; in a `language` these are the names that were asked for."""
    boxes = np.asarray(truth.xyxy, dtype=np.float64).reshape(-1, 4)
    if not len(boxes):
        return [Control("<none>")]
    if labels:
        order = sorted(range(len(boxes)), key=lambda i: (boxes[i, 0] + boxes[i, 1], boxes[i, 1]))
    else:
        order = sorted(range(len(boxes)), key=lambda i: (boxes[i, 0], boxes[i, 1]))
    written = boxes_text(boxes, size)
    pieces: list[Piece] = []
    for index in order:
        if labels:
            pieces.append(Plain(named(truth.labels[index], language) if language else truth.labels[index]))
        pieces.append(Control(written[index]))
    return pieces


def _masks(truth: Any, size: Size) -> list[Piece]:
    instances = [[ordered(part) for part in parts if len(part) >= 3] for parts in truth.polygons]
    instances = [parts for parts in instances if parts]
    if not instances:
        return [Control("<none>")]
    instances.sort(key=_corner)
    pieces: list[Piece] = []
    for parts in instances:
        every = np.array([point for part in parts for point in part])
        pieces.append(Control("<poly>" + boxes_text([[*every.min(0), *every.max(0)]], size)[0]))
        written = [points_text(geometry.resample(part, POLYGON_POINTS), size) for part in parts]
        pieces.append(Control("<sep>".join(written)))
    return pieces


def _corner(parts: list[Polygon]) -> float:
    return min(x for part in parts for x, _ in part) + min(y for part in parts for _, y in part)


def _lines(truth: Any, size: Size) -> list[Piece]:
    quads = np.asarray(truth.quads, dtype=np.float64).reshape(-1, 4, 2)
    if not len(quads):
        return [Control("<none>")]
    centres = quads.mean(axis=1)
    order = sorted(range(len(quads)), key=lambda i: (centres[i, 1], centres[i, 0]))
    pieces: list[Piece] = []
    for index in order:
        pieces += [Spelled(truth.texts[index]), Control(points_text(quads[index], size))]
    return pieces


def ordered(polygon: Iterable[tuple[float, float]]) -> Polygon:
    """The polygon clockwise on the screen, from its topmost (then leftmost) point on: one writing for one outline."""
    points = [(float(x), float(y)) for x, y in polygon]
    turned = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True))
    if turned < 0:
        points.reverse()
    first = min(range(len(points)), key=lambda i: (points[i][1], points[i][0]))
    return tuple(points[first:] + points[:first])


def boxes_text(boxes: Any, size: Size) -> list[str]:
    """The four location tokens of each box."""
    return ["".join(LOCATIONS[int(value)] for value in row) for row in CODEC.encode(np.asarray(boxes, float), size)]


def points_text(points: Any, size: Size) -> str:
    """Two location tokens (x, y) for each point."""
    values = CODEC.encode(np.asarray(points, dtype=np.float64), size)
    return "".join(LOCATIONS[int(value)] for value in values.reshape(-1))


def _interleave(groups: Sequence[list[Piece]], separator: Piece) -> list[Piece]:
    pieces: list[Piece] = []
    for number, group in enumerate(groups):
        pieces += ([separator] if number else []) + group
    return pieces


def sample_sizes(sample: Sample) -> list[Size]:
    """Width and height of each image of a sample."""
    return [image.size if hasattr(image, "convert") else open_image(image).size for image in sample.images]


def banned_tokens(skill: str) -> tuple[str, ...]:
    """Special tokens that no answer of that skill has."""
    places = {"detect", "ground", "segment", "read"}
    allowed = {"<eos>", *(LOCATIONS if skill in places else ())}
    allowed |= {"<none>"} if skill in places else set()
    allowed |= {"<poly>", "<sep>"} if skill == "segment" else {"<sep>"} if skill == "extract" else set()
    return tuple(token for token in SPECIAL_TOKENS if token not in allowed)


def render_sample(sample: Sample) -> tuple[list[Piece], list[Piece]]:
    """(prompt, answer) of a sample; the answer ends with `<eos>`. Only its tokens carry loss."""
    sizes = sample_sizes(sample)
    return prompt_pieces(sample.request(), sizes), [*answer_pieces(sample, sizes), Control("<eos>")]


def encode_sample(sample: Sample, tokenizer: Any) -> Encoded:
    """A sample as token ids, one `<image>` id per image or frame; see `Encoded`."""
    prompt, answer = render_sample(sample)
    ids = [encode_pieces(tokenizer, pieces, image_token="<image>") for pieces in (prompt, answer)]
    return Encoded(ids[0], ids[1], sample.images, [sample.skill == "watch"] * len(sample.images))
