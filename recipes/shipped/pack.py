"""Rows for the decoder: one picture and many questions about it.

All questions of a scene stand after ONE image prefix in one row; each sees the prefix and itself only, and its
positions start where the prefix ends. So a picture is encoded once for ten questions, and training sees what inference
will see.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from scenes import SPEAK, known, questions
from see import normalised
from targets import frame
from transformers import PreTrainedTokenizerFast

from imglish.core.types import Polygon, Sample
from imglish.families._base import Control, Piece, Plain, Spelled, encode_pieces
from imglish.families._imglish_text import (
    LOCATIONS,
    POLYGON_POINTS,
    SPECIAL_TOKENS,
    boxes_text,
    points_text,
    render_sample,
)
from imglish.world import _beyond
from imglish.world._scene import Language, Scene

SIDE, TEXT, CLOSED = 192, 240, -1e4  # pixels, question tokens in a row, "may not look"
NOTES = 112
IMAGE_TOKENS, FRAME_TOKENS = 144 + NOTES, 12
PLACES = range(len(SPECIAL_TOKENS) - len(LOCATIONS), len(SPECIAL_TOKENS))  # ids of the location tokens
OUTLINE = 1.0  # what a location token of an outline counts
OFTEN = {  # how eagerly a topic is drawn; some have many questions to a scene, some have one
    "colour": 5.0, "presence": 3.0, "refer": 2.0, "segment": 4.0, "detect": 3.0, "read": 3.0, "caption": 5.0,
    "count": 4.0, "summary": 0.4, "unknown": 3.0, "identify": 0.5, "relation": 0.6,
}  # fmt: skip
SHOWN = ("colour", "presence", "count", "refer", "detect", "read", "segment", "chart", "change")  # topics in the log


@dataclass
class Row:
    """One image prefix and the questions after it."""

    prefix: list[int]
    pixels: list[np.ndarray]
    frames: bool
    scene: Scene
    ids: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)  # of predicting this token; 0 where it is given
    topic: list[int] = field(default_factory=list)  # place in SHOWN, or -1
    outlines: list[tuple[int, Polygon]] = field(default_factory=list)  # where their points begin in `ids`, and truths

    def add(self, segment: int, prompt: list[int], answer: list[int], start: int, topic: str = "") -> int:
        """Append a question and its answer; the place where the next turn of this chat would start."""
        self.topic += [SHOWN.index(topic) if topic in SHOWN else -1] * (len(prompt) + len(answer))
        share = len(answer) ** -0.5
        vague = OUTLINE if topic == "segment" else 1.0
        weight = [share * (vague if token in PLACES else 1.0) for token in answer]
        self.ids += prompt + answer
        self.segment += [segment] * (len(prompt) + len(answer))
        self.position += range(start, start + len(prompt) + len(answer))
        self.weight += [0.0] * len(prompt) + weight
        return start + len(prompt) + len(answer)


def roughen(rng: random.Random, text: str) -> str:
    """A question as people type it: sometimes in lower case, sometimes without its question mark."""
    if rng.random() < 0.1:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip("?.! ") or text
    return text


def stray(rng: random.Random, sample: Sample) -> Sample:
    """A question about the same picture that no picture answers."""
    question, answer = _beyond.question(rng, cast(Language, sample.language), "train")
    return replace(
        sample, skill="ask", question=question, answer=answer, truth=None, topic="unknown", labels=(), region=None,
        schema=None,
    )  # fmt: skip


def told(scene: Scene, index: int, rng: random.Random) -> list[Piece]:
    """A picture told in words and locations: what the decoder learns from before it has eyes."""
    size = scene.images[index].size
    pieces: list[Piece] = []
    things = [thing for thing in scene.things if thing.image == index]
    for thing in rng.sample(things, len(things))[:12]:
        pieces += [Plain(f"{thing.colour} {thing.name}"), Control(boxes_text([thing.box], size)[0])]
    for line in [line for line in scene.lines if line.image == index][:8]:
        pieces += [Spelled(line.string), Control(points_text([line.quad[0], line.quad[2]], size))]
    return pieces


class Packer:
    """Makes rows of scenes: which questions, in which order, how many."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stage: str) -> None:
        self.tokenizer, self.stage = tokenizer, stage
        self.image, self.bos = (tokenizer.convert_tokens_to_ids(t) for t in ("<image>", "<bos>"))
        self.mixture = known(SPEAK)

    def row(self, seed: int) -> Row:
        """The row of a training seed."""
        rng = random.Random(f"row/{self.stage}/{seed}")
        scene, samples = questions(seed, self.mixture)
        first = rng.choice(samples)  # all questions of a row are about the same pictures
        samples = [s for s in samples if (s.images, s.skill == "watch") == (first.images, first.skill == "watch")]
        if first.skill != "watch" and rng.random() < 0.35:
            samples.append(stray(rng, first))
        row = self._prefix(scene, first, rng)
        keys = {id(s): rng.random() ** (1 / OFTEN.get(s.topic, 1.0)) for s in samples}
        start, left, number = len(row.prefix), TEXT, 0
        turn = start
        chat = False
        for sample in sorted(samples, key=lambda s: -keys[id(s)]):
            prompt, answer = self._encode(sample, rng)
            if len(prompt) + len(answer) > left and number:
                continue
            chat = chat and sample.skill == "ask" and rng.random() < 0.5
            if not chat:
                number, turn = number + 1, start
            if sample.skill == "segment" and len(answer) == 6 + 2 * POLYGON_POINTS:  # one thing in one part
                row.outlines.append((len(row.ids) + len(prompt) + 5, sample.truth.polygons[0][0]))  # type: ignore[union-attr]
            turn = row.add(number, prompt, answer, turn, sample.topic)
            chat = sample.skill == "ask" and rng.random() < 0.2
            left -= len(prompt) + len(answer)
            if left < 12:
                break
        return row

    def _prefix(self, scene: Scene, sample: Sample, rng: random.Random) -> Row:
        video = sample.skill == "watch"
        if self.stage != "talk":
            each = FRAME_TOKENS if video else IMAGE_TOKENS
            pixels = [frame(image, SIDE)[0] for image in sample.images]
            return Row([self.bos] + [self.image] * each * len(pixels), pixels, video, scene)
        ids = [self.bos]
        for index in range(len(scene.images) if len(sample.images) > 1 else 1):
            ids += encode_pieces(self.tokenizer, [*told(scene, index, rng), Control("<sep>")], image_token="<image>")
        return Row(ids[:400], [], video, scene)

    def _encode(self, sample: Sample, rng: random.Random) -> tuple[list[int], list[int]]:
        prompt, answer = render_sample(sample)
        cut = next(
            i for i, piece in enumerate(prompt) if isinstance(piece, Control) and piece.text.startswith("<user>")
        )
        free = sample.skill in ("ask", "watch", "count", "ground", "segment")
        rough = [Plain(roughen(rng, p.text)) if free and isinstance(p, Plain) else p for p in prompt[cut:]]
        return tuple(encode_pieces(self.tokenizer, pieces, image_token="<image>") for pieces in (rough, answer))  # type: ignore[return-value]


def collated(rows: list[Row], end: int = -1) -> dict[str, Any]:
    """Rows padded on the right to one batch, with the mask in which a question sees the prefix and itself."""
    length = max(len(row.prefix) + len(row.ids) for row in rows)
    ids, segment, position, topic = (np.full((len(rows), length), fill) for fill in (0, -1, 0, -1))
    weight = np.zeros((len(rows), length), np.float32)
    for number, row in enumerate(rows):
        start, end = len(row.prefix), len(row.prefix) + len(row.ids)
        ids[number, :end] = row.prefix + row.ids
        segment[number, :start], segment[number, start:end] = 0, row.segment
        position[number, :end] = [*range(start), *row.position]
        weight[number, start:end], topic[number, start:end] = row.weight, row.topic
    earlier = np.tril(np.ones((length, length), bool))
    allowed = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
    mask = np.where(allowed & earlier, 0.0, CLOSED).astype(np.float32)[:, None]
    pixels = [picture for row in rows for picture in row.pixels]
    return {
        "ids": torch.from_numpy(ids), "position": torch.from_numpy(position), "mask": torch.from_numpy(mask),
        "weight": torch.from_numpy(weight), "topic": torch.from_numpy(topic), "rows": rows, "end": end,
        "pixels": normalised(np.stack(pixels)) if pixels else None,
        "frames": torch.tensor([row.frames for row in rows for _ in row.pixels], dtype=torch.bool),
    }  # fmt: skip
