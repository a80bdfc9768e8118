"""The rows of benchmarks/shipped.py: which samples of which scenes each one asks, and how it is scored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module

from imglish import world
from imglish.core.results import Boxes, Masks, Record, Result, Text, TextRegions
from imglish.core.types import Sample
from imglish.metrics import (
    _interval,
    ap50,
    balanced_accuracy,
    box_accuracy,
    caption_f1,
    cer,
    exact,
    fields_f1,
    mask_iou,
)
from imglish.world._beyond import UNKNOWN
from imglish.world._scene import Language, Scene, Wording

Score = tuple[float, tuple[float, float]]  # a value and its 95 % interval


@dataclass(frozen=True)
class Case:
    """One question of one scene."""

    scene: Scene
    sample: Sample


Measure = Callable[[Sequence[Case], Sequence[Result]], Score]


@dataclass(frozen=True)
class Row:
    """`wanted` chooses among the samples of a scene; of those, one is asked, at random but always the same."""

    name: str
    kinds: tuple[str, ...]
    wanted: Callable[[Sample], bool]
    measure: Measure
    unit: str
    aim: float | None = None


# how answers are scored


def said(result: Result) -> str:
    """The text of an answer; one that was cut short says nothing."""
    cut = result.receipt is not None and result.receipt.truncated
    return "" if cut or not isinstance(result, Text) else result.text


def by_exact(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """The share of answers that are the true one."""
    hits = [exact.score(said(result), case.sample.answer) for case, result in zip(cases, results, strict=True)]
    return sum(hits) / len(hits), _interval.wilson(sum(hits), len(hits))


def by_balance(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """Balanced accuracy over the answers that occur."""
    truths, answers = [case.sample.answer for case in cases], [said(result) for result in results]
    hits = [exact.score(answer, truth) for answer, truth in zip(answers, truths, strict=True)]
    return balanced_accuracy.score(answers, truths), _interval.of_balanced(hits, truths)


def by_caption(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """The mean over captions of the F1 of the things they name. A cut caption counts as far as it goes."""
    scores = [
        caption_f1.score(world.mentions(str(result), case.sample.language), case.sample.extra["objects"])
        for case, result in zip(cases, results, strict=True)
    ]
    return _mean(scores)


def by_boxes(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """The mean over questions of whether the boxes asked for were found, at IoU 0.5. "Nothing" has to be said."""
    scores = [
        box_accuracy.score(_boxes(result).xyxy, case.sample.truth.xyxy) if len(_boxes(result)) or result.parsed else 0.0
        for case, result in zip(cases, results, strict=True)
    ]
    return _mean(scores)


def by_precision(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """AP50; labels in the plural or another language are the thing's name."""
    found = [_named(_boxes(result), case.sample) for case, result in zip(cases, results, strict=True)]
    truths = [_named(case.sample.truth, case.sample) for case in cases]
    return ap50.score(found, truths), ap50.interval(found, truths)


def by_pixels(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """The mean IoU of the outlines given, filled, and the visible pixels that were drawn."""
    scores = [
        mask_iou.score(result.mask if isinstance(result, Masks) else [], _pixels(case))
        for case, result in zip(cases, results, strict=True)
    ]
    return _mean(scores)


def by_characters(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """Edits per character over all pictures; less is better."""
    read = [result.texts if isinstance(result, TextRegions) else () for result in results]
    edits = [cer.edits(texts, case.sample.truth.texts) for case, texts in zip(cases, read, strict=True)]
    wrong, characters = [pair[0] for pair in edits], [pair[1] for pair in edits]
    value = sum(wrong) / max(sum(characters), 1)
    return value, _interval.of_ratio(wrong, characters)


def by_fields(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """The mean over documents of the F1 of their fields."""
    data = [result.data if isinstance(result, Record) else {} for result in results]
    return _mean([fields_f1.score(given, case.sample.truth.data) for case, given in zip(cases, data, strict=True)])


def by_refusal(cases: Sequence[Case], results: Sequence[Result]) -> Score:
    """The share answered with "I don't know"."""
    hits = [exact.score(said(r), UNKNOWN[c.sample.language]) for c, r in zip(cases, results, strict=True)]
    return sum(hits) / len(hits), _interval.wilson(sum(hits), len(hits))


def _mean(scores: Sequence[float]) -> Score:
    return sum(scores) / len(scores), _interval.of_mean(scores)


def _boxes(result: Result) -> Boxes:
    return result if isinstance(result, Boxes) else Boxes()


def _named(boxes: Boxes, sample: Sample) -> Boxes:
    labels = [(world.mentions(label, sample.language) or [label.lower()])[0] for label in boxes.labels]
    return Boxes(xyxy=boxes.xyxy, labels=tuple(labels), confidence=boxes.confidence, size=boxes.size)


def _pixels(case: Case) -> object:
    return case.scene.things[case.sample.extra["thing"]].bitmap


# which questions are asked


def topic(name: str, *tags: str) -> Callable[[Sample], bool]:
    """Samples of a topic that have these tags."""
    return lambda sample: sample.topic == name and set(tags) <= set(sample.tags)


def _counts(low: int, high: int) -> Callable[[Sample], bool]:
    return lambda sample: sample.topic == "count" and low <= sample.extra["value"] <= high


def _there(name: str) -> Callable[[Sample], bool]:
    """Samples of what is in the picture: whether an absent thing is left alone is `detect_one` and the kind `probe`."""
    return lambda sample: sample.topic == name and len(sample.truth) > 0


def _defect(sample: Sample) -> bool:
    return sample.topic == "defect" and "value" in sample.extra


def _short(sample: Sample) -> bool:
    return sample.skill == "ask" and sample.topic in ("colour", "presence", "count", "relation")


ROWS = (
    Row("colour", ("things",), topic("colour"), by_exact, "accuracy", 0.98),
    Row("presence", ("things",), topic("presence"), by_balance, "balanced accuracy", 0.98),
    Row("count", ("things",), _counts(1, 5), by_exact, "accuracy", 0.95),  # one to five
    Row("count2", ("things",), _counts(2, 99), by_exact, "accuracy"),  # two and more, beyond five as well
    Row("caption_f1", ("things",), topic("caption"), by_caption, "F1", 0.95),
    Row("ap50", ("things",), topic("detect"), by_precision, "AP50", 0.9),
    Row("detect_one", ("things",), topic("detect_one"), by_boxes, "F1"),
    Row("refer", ("things",), _there("refer"), by_boxes, "accuracy", 0.95),
    Row("mask_iou", ("things",), _there("segment"), by_pixels, "mean IoU", 0.7),
    Row("cer", ("text",), topic("read"), by_characters, "error rate", 0.15),
    Row("fields", ("receipt", "card"), topic("fields"), by_fields, "F1"),
    Row("chart", ("chart",), topic("chart"), by_exact, "accuracy"),
    Row("change", ("pair",), topic("change", "what"), by_exact, "accuracy"),  # the open question: what changed?
    Row("defect", ("part",), _defect, by_balance, "balanced accuracy"),  # is there one: yes or no
    Row("defect_box", ("part",), _there("defect_box"), by_boxes, "F1"),  # where it is, on surfaces that have one
    Row("clip", ("clip",), topic("clip", "way"), by_exact, "accuracy"),  # which way something moves
)
SPOKEN = ("colour", "presence", "count", "caption_f1", "ap50", "refer", "chart", "change", "defect", "clip")
UNKNOWNS = (
    Row("honest", ("things",), topic("unknown"), by_refusal, "share of questions from outside"),
    Row("refused", ("things",), _short, by_refusal, "share of questions from inside"),
)


@dataclass(frozen=True)
class Job:
    """A row in a group: in which difficulty, language and wording it is asked."""

    group: str
    row: Row
    difficulty: str = "ordinary"
    language: Language = "en"
    wording: Wording = "train"

    @property
    def name(self) -> str:
        """The row's name in the table."""
        return f"{self.group}/{self.row.name}"

    @property
    def source(self) -> tuple[tuple[str, ...], str]:
        """Jobs of one source ask about the same scenes."""
        return self.row.kinds, self.difficulty


def jobs() -> Iterator[Job]:
    """Every row of the table, in its order."""
    yield from (Job("ordinary", row) for row in ROWS)
    for group in ("crowded", "repeats"):
        for row in ROWS:
            difficulty = group
            if row.kinds == ("text",) and group == "crowded":
                difficulty = "hard"  # a crowded text is a page of loose letters that trains an encoder, not an answer
            if all(difficulty in import_module(f"imglish.world.{kind}").DIFFICULTIES for kind in row.kinds):
                yield Job(group, row, difficulty)  # text, papers and charts have nothing that could repeat
    yield from (Job("wordings", row, wording="held") for row in ROWS)
    for language in ("pl", "vi", "ru"):
        yield from (Job(f"languages/{language}", row, language=language) for row in ROWS if row.name in SPOKEN)
    yield Job("unknown", UNKNOWNS[0], wording="held")
    yield from (Job("unknown", row) for row in UNKNOWNS[1:])


@dataclass
class Scenes:
    """Held-out scenes of one source at a time, drawn when first needed and asked about by all its rows."""

    source: tuple[tuple[str, ...], str] = ((), "")
    scenes: list[Scene] = field(default_factory=list)
    asked: dict[tuple[int, str, str], list[Sample]] = field(default_factory=dict)

    def cases(self, job: Job, count: int) -> list[Case]:
        """One question per scene, from as many scenes as it takes; fewer where a kind hardly ever has one."""
        if job.source != self.source:
            self.source, self.scenes, self.asked = job.source, [], {}
        cases: list[Case] = []
        for number in range(8 * count):
            found = [sample for sample in self._samples(number, job) if job.row.wanted(sample)]
            if found:
                chooser = random.Random(f"{job.row.name}/{number}")
                cases.append(Case(self.scenes[number], chooser.choice(found)))
            if len(cases) == count:
                break
        return cases

    def _samples(self, number: int, job: Job) -> list[Sample]:
        while len(self.scenes) <= number:
            kinds = job.row.kinds
            seed = world.seeds("held", len(self.scenes))[0]
            self.scenes.append(world.draw(kinds[len(self.scenes) % len(kinds)], seed, difficulty=job.difficulty))
        key = number, job.language, job.wording
        if key not in self.asked:
            self.asked[key] = world.samples(self.scenes[number], language=job.language, wording=job.wording)
        return self.asked[key]
