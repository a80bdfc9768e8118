"""What the demo asks, of which held-out scenes, and when an answer counts as right."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from imglish import world
from imglish.core.errors import ImglishError
from imglish.core.results import OUT_OF_WORLD, Boxes, Masks, Record, Regions, Result, Text, TextRegions
from imglish.core.types import Sample
from imglish.engine.vlm import VLM
from imglish.metrics import box_accuracy, caption_f1, cer, exact, fields_f1, mask_iou
from imglish.world._scene import Language, Scene, Wording

TRIES = 60  # scenes looked through for one that can be asked what is wanted
APART = 100_000.0  # pixels; see `spread`


@dataclass(frozen=True)
class Wish:
    """One kind of question. `difficulty` is that of the scene, `tags` narrow the question down."""

    skill: str
    kind: str
    topic: str
    language: Language = "en"
    tags: tuple[str, ...] = ()
    difficulty: str = "ordinary"

    def accepts(self, sample: Sample) -> bool:
        """Whether a sample is such a question. What is not in the picture is asked for where a tag says so."""
        regions = isinstance(sample.truth, (Boxes, Masks, TextRegions))
        return (
            sample.skill == self.skill
            and sample.topic.startswith(self.topic)
            and set(self.tags) <= set(sample.tags)
            and (not regions or (len(sample.truth) == 0) == ("absent" in self.tags))
        )


WISHES = (
    Wish("ask", "things", "colour"),
    Wish("ask", "things", "presence", "pl"),
    Wish("ask", "things", "relation", "vi"),
    Wish("ask", "things", "count", "ru"),
    Wish("ask", "chart", "chart"),
    Wish("ask", "pair", "change", tags=("what",)),
    Wish("ask", "pair", "change", "ru", tags=("which",)),
    Wish("ask", "part", "defect"),
    Wish("ask", "receipt", "read_line", "vi"),
    Wish("ask", "card", "read_line", "pl"),
    Wish("ask", "text", "read_line"),
    Wish("ask", "probe", "probe"),
    Wish("ask", "things", "unknown"),
    Wish("caption", "things", "caption"),
    Wish("caption", "things", "caption", "pl"),
    Wish("caption", "things", "caption", "vi", difficulty="repeats"),
    Wish("caption", "part", "caption", "ru"),
    Wish("caption", "chart", "summary"),
    Wish("caption", "receipt", "summary"),
    Wish("detect", "things", "detect"),
    Wish("detect", "things", "detect", difficulty="crowded"),
    Wish("detect", "things", "detect_one", "ru", difficulty="repeats"),
    Wish("detect", "things", "detect_one", tags=("absent",)),
    Wish("detect", "part", "defect_box"),
    Wish("ground", "things", "refer"),
    Wish("ground", "things", "refer", "vi", difficulty="repeats"),
    Wish("segment", "things", "segment"),
    Wish("segment", "things", "segment", "pl", difficulty="crowded"),
    Wish("read", "text", "read"),
    Wish("read", "text", "read", difficulty="easy"),
    Wish("identify", "things", "identify"),
    Wish("identify", "things", "identify", "ru"),
    Wish("count", "things", "count"),
    Wish("count", "things", "count", "vi", difficulty="repeats"),
    Wish("extract", "card", "fields"),
    Wish("extract", "receipt", "fields", "pl"),
    Wish("watch", "clip", "clip", tags=("way",)),
    Wish("watch", "clip", "clip", "pl"),
)
TALKS: tuple[Language, ...] = ("en", "pl")  # one chat each


@dataclass(frozen=True)
class Measure:
    """How answers of a sort are marked: `score` is named `name`, and is right on the better side of `bar`."""

    name: str
    bar: float
    less_is_better: bool = False

    def right(self, score: float) -> bool:
        """Whether a score is good enough."""
        return score <= self.bar if self.less_is_better else score >= self.bar

    def __str__(self) -> str:
        return f"{self.name} {'≤' if self.less_is_better else '≥'} {self.bar:g}" if self.bar != 1 else self.name


EXACT = Measure("same answer", 1.0)
NAMED = Measure("F1 of things named", 0.9)
LETTERS = Measure("character error rate", 0.15, less_is_better=True)
FOUND = Measure("F1 of boxes at IoU 0.5", 0.9)
PIXELS = Measure("mask IoU", 0.7)
FIELDS = Measure("F1 of fields", 0.9)
WARNED = Measure("warns", 1.0)


@dataclass(frozen=True)
class Case:
    """A question that was asked: `result` is None where the call failed, and `error` says why."""

    skill: str
    sample: Sample
    call: str
    result: Result | None
    measure: Measure
    score: float
    error: str = ""
    turn: int = 0  # of a chat, from 1

    @property
    def right(self) -> bool:
        """Whether the answer counts as right."""
        return self.measure.right(self.score)


def questions(seed: int, count: int) -> Iterator[tuple[Wish, Sample]]:
    """`count` questions of every wish, each about another held-out scene; every second one in held-out words."""
    for number, wish in enumerate(WISHES):
        start = (seed * len(WISHES) + number) * TRIES * max(count, 1)
        for index in range(count):
            wording: Wording = ("train", "held")[(number + index) % 2]
            found = _find(wish, start + index * TRIES, wording)
            if found is not None:
                yield wish, found


def _find(wish: Wish, start: int, wording: Wording) -> Sample | None:
    for seed in world.seeds("held", start, TRIES):
        scene = world.draw(wish.kind, seed, difficulty=wish.difficulty)
        asked = world.samples(scene, language=wish.language, wording=wording)
        if fitting := [sample for sample in asked if wish.accepts(sample)]:
            return Random(seed).choice(fitting)
    return None


def talks(seed: int, count: int) -> Iterator[tuple[Scene, list[Sample]]]:
    """Chats of three turns about one picture each: what is there, how many, which colour."""
    for number in range(count * len(TALKS)):
        start = (seed * count * len(TALKS) + number) * TRIES
        for at in world.seeds("held", start, TRIES):
            scene = world.draw("things", at)
            asked = world.samples(scene, language=TALKS[number % len(TALKS)])
            turns = [
                next((one for one in asked if one.skill == "ask" and one.topic == topic), None)
                for topic in ("caption", "count", "colour")
            ]
            if all(turns):
                yield scene, [turn for turn in turns if turn is not None]
                break


def ask(vlm: VLM, sample: Sample) -> Case:
    """One question, put through the method of its skill."""
    arguments, shown = _call(sample)
    options: dict[str, Any] = {"language": sample.language} if sample.language != "en" else {}
    if sample.skill == "caption" and sample.detail != "normal":
        options["detail"] = sample.detail
    words = [*shown, *(f"{name}={value!r}" for name, value in options.items())]
    call = f"vlm.{sample.skill}({', '.join(words)})"
    measure = measure_of(sample)
    try:
        result = getattr(vlm, sample.skill)(*arguments, **options)
    except ImglishError as error:
        return Case(sample.skill, sample, call, None, measure, _worst(measure), str(error))
    return Case(sample.skill, sample, call, result, measure, score(result, sample, measure))


def _call(sample: Sample) -> tuple[list[Any], list[str]]:
    """What is given to the method, and the same as a reader of Python sees it."""
    pictures: Any = sample.images[0] if len(sample.images) == 1 else list(sample.images)
    name = "frames" if sample.skill == "watch" else "picture" if len(sample.images) == 1 else "[before, after]"
    if sample.skill == "read":
        return [pictures], [name]
    if sample.skill == "detect":
        labels = list(sample.labels)
        return [pictures, labels], [name, repr(labels)] if labels else [name]
    if sample.skill == "identify":
        box = [round(float(value), 1) for value in sample.region or ()]
        return [pictures, box], [name, repr(box)]
    if sample.skill == "extract":
        return [pictures, sample.schema], [name, "schema"]
    return [pictures, sample.question], [name, repr(sample.question)]


def talk(vlm: VLM, scene: Scene, turns: Sequence[Sample]) -> list[Case]:
    """A chat about one picture, turn by turn."""
    chat, cases = vlm.chat(language=turns[0].language), list[Case]()
    for number, sample in enumerate(turns, 1):
        picture = scene.images[0] if number == 1 else None
        call = f"chat.say({sample.question!r}{', image=picture' if number == 1 else ''})"
        measure = measure_of(sample)
        try:
            result: Result = chat.say(sample.question, image=picture)
            cases.append(Case("chat", sample, call, result, measure, score(result, sample, measure), turn=number))
        except ImglishError as error:
            cases.append(Case("chat", sample, call, None, measure, _worst(measure), str(error), turn=number))
            break
    return cases


def measure_of(sample: Sample) -> Measure:
    """How the answer to a sample is marked."""
    by_truth = {Boxes: FOUND, Masks: PIXELS, TextRegions: LETTERS, Record: FIELDS}
    if type(sample.truth) in by_truth:
        return by_truth[type(sample.truth)]
    if "objects" in sample.extra:
        return NAMED
    return LETTERS if sample.skill == "caption" else EXACT


def score(result: Result, sample: Sample, measure: Measure) -> float:
    """The score of an answer under a measure. One that could not be read at all scores worst."""
    truth = sample.truth
    if type(result) is not type(truth) or (isinstance(result, Regions) and not len(result) and not result.parsed):
        return _worst(measure)  # "could not be read" is never "nothing there"
    if isinstance(result, Boxes):
        return box_accuracy.score(*spread(result, truth, sample))
    if isinstance(result, Masks):
        return mask_iou.score(result.mask, truth.mask)
    if isinstance(result, TextRegions):
        return cer.score(result.texts, truth.texts)
    if isinstance(result, Record):
        return fields_f1.score(result.data, truth.data)
    if measure is NAMED:
        return caption_f1.score(world.mentions(str(result), sample.language), sample.extra["objects"])
    return cer.score(str(result), sample.answer) if measure is LETTERS else exact.score(str(result), sample.answer)


def spread(result: Boxes, truth: Boxes, sample: Sample) -> tuple[Any, Any]:
    """Both lists of boxes, those of each name moved to a place of its own: a box with a wrong name meets nothing."""
    if sample.skill == "ground":  # it was asked for one thing: there are no names
        return result.xyxy, truth.xyxy

    def names(boxes: Boxes) -> list[str]:
        return [(world.mentions(label, sample.language) or [label.lower()])[0] for label in boxes.labels]

    known = sorted({*names(result), *names(truth)})
    moved = [
        boxes.xyxy + APART * np.array([known.index(name) for name in names(boxes)], float).reshape(-1, 1)
        for boxes in (result, truth)
    ]
    return moved[0], moved[1]


def _worst(measure: Measure) -> float:
    return float(measure.less_is_better)


def photograph(vlm: VLM) -> Case | None:
    """A photograph, which the shipped model does not know: right is an answer with a warning. None where none lies."""
    spec = importlib.util.find_spec("matplotlib")  # the module itself is not imported
    path = Path(spec.origin or "").parent / "mpl-data/sample_data/grace_hopper.jpg" if spec else Path()
    if not path.is_file():
        return None
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    answer = "a warning: this picture is unlike what the shipped model was trained on"
    sample = Sample("photograph", "caption", (picture,), "", answer, Text(), topic="photograph")
    result = vlm.caption(picture)
    warned = any(problem.kind == OUT_OF_WORLD for problem in result.problems)
    return Case("photograph", sample, 'vlm.caption("grace_hopper.jpg")', result, WARNED, float(warned))
