"""The rows of benchmarks/engine.py: each does the same work twice, with the engine and with plain transformers."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from _engine_dictated import dictated
from _engine_machine import bandwidth, now, wait
from _engine_models import build, endless, files, picture
from _engine_plain import Plain

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine._sampling import Rules
from imglish.engine.batch import Budget
from imglish.engine.constrain import guide_for
from imglish.engine.generate import Options
from imglish.engine.loop import Job
from imglish.engine.quantize import Agreement, quantize
from imglish.engine.schema import as_schema
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded

QUESTIONS = (
    "What is in the middle of the picture?", "Which colour is the largest thing?", "How many things are there?",
    "Is there anything red in it?", "What stands on the left?", "What is above the blue thing?",
    "Is the small star yellow?", "What would you call this picture?",
)  # fmt: skip
TURNS = ("Describe this picture in a few words.", "And what is on the left side of it?", "How many of them are red?")
ANSWERS = (
    "There is a large red circle on the left, a small blue star above it, and a green cat beside two yellow squares.",
    "On the left side there is a large red circle, and above it a small blue star.",
)  # what the engine is made to say: random weights write letters that are no words
TOGETHER = 8  # requests of a batch
OPTIONS = ("a red circle and a star", "two blue squares", "a green cat on a chair", "nothing that I know")
SIZES = {
    "b": (640, 480),
    "c": (640, 480),
    "d": (640, 480),
}  # of pictures; the shipped model gets what it was trained on
Timed = Callable[[], float]
Pair = tuple[Timed, Timed]  # the engine's and the peer's: each does the work and gives its seconds


@dataclass(frozen=True)
class Lengths:
    """Tokens of answers, and how many pictures and questions there are."""

    answer: int = 8
    caption: int = 24
    decode: int = 64
    cold: int = 32
    document: int = 96
    questions: int = 32
    pictures: int = 64
    rotated: int = 32
    """Questions about one picture that are asked in four rotations each."""


QUICK = Lengths(answer=3, caption=3, decode=6, cold=3, document=16, questions=4, pictures=4, rotated=2)


@dataclass(eq=False)
class Bench:
    """One model, asked by the engine (`vlm`) and by its peer (`plain`)."""

    letter: str
    device: str
    quick: bool
    checkpoint: str | None = None
    lengths: Lengths = field(default_factory=Lengths)
    weighing: bool = False
    """Whether memory is measured: what is read beside an answer would count."""

    def __post_init__(self) -> None:
        self.loaded = build(self.letter, quick=self.quick, device=self.device, checkpoint=self.checkpoint)
        self.vlm, self.ending = VLM(endless(self.loaded)), VLM(self.loaded)
        self.plain = Plain(endless(self.loaded))
        self._seeds = itertools.count()
        self._made: dict[str, Any] = {}

    def fresh(self) -> Any:
        """A picture that nobody saw before."""
        return picture(next(self._seeds), SIZES.get(self.letter))

    def ask(self, image: Any, text: str, skill: str = "ask") -> Request:
        """A request about one picture."""
        return Request(skill, (Message("user", (ImagePart(image), TextPart(text))),), text)

    @cached_property
    def decoding(self) -> tuple[list[float], list[float]]:
        """Tokens a second of one request after its first token: the engine's and the peer's, as they were measured."""
        return [], []

    @cached_property
    def reading(self) -> list[float]:
        """Bytes a second of a plain read of as many as the weights have, beside each of the engine's answers."""
        return []

    @cached_property
    def quantised(self) -> tuple[VLM, Agreement]:
        """The same model in int8, and how far it agrees."""
        other = build(self.letter, quick=self.quick, device=self.device, checkpoint=self.checkpoint)
        agreement = quantize(other, "int8")
        return VLM(endless(other)), agreement

    @cached_property
    def folder(self) -> list[Path]:
        """Pictures of mixed sizes as files."""
        self._made["folder"] = tempfile.TemporaryDirectory()
        return files(Path(self._made["folder"].name), self.lengths.pictures)

    def clock(self, work: Callable[[], object]) -> float:
        """Seconds that it takes."""
        wait(self.device)
        began = now()
        work()
        wait(self.device)
        return now() - began

    def both(self, requests: Sequence[Request], tokens: int) -> Pair:
        """Answers of so many tokens by the engine, and by `generate`."""
        return (
            lambda: self.clock(lambda: self.vlm.run(requests, max_tokens=tokens, beams=1)),
            lambda: self.clock(lambda: self.plain.run(requests, tokens)),
        )

    def batch(self, requests: Sequence[Request], tokens: int) -> float:
        """Seconds of the peer for requests that are alike: those of its first batch, for each that it takes."""
        some = requests[:TOGETHER]
        return self.clock(lambda: self.plain.run(some, tokens)) * len(requests) / len(some)

    def speed(self, vlm: VLM, request: Request, tokens: int, *, guided: bool = False) -> float:
        """Tokens a second after the first one, by the engine's loop for one answer."""
        options = Options(max_tokens=tokens, cache=False)
        loop = vlm._runner.loop(options, vlm.loaded)
        (prompt,) = vlm._runner.prompts([request], options)
        job = Job(0, prompt, options, Rules(), guide_for(request, vlm.loaded) if guided else None)
        with torch.inference_mode():
            steps = loop.run([job], Budget(1, options.tokens))
            next(steps)
            before = len(job.row.ids)
            took = self.clock(lambda: [None for _ in steps])
        return (len(job.row.ids) - before) / max(took, 1e-9)


def chat_turn(bench: Bench) -> Iterator[Pair]:
    """Seconds to the first token of the second and the third turn about one picture."""
    told = [Message("user", (ImagePart(bench.fresh()), TextPart(TURNS[0])))]
    for answer, text in zip(ANSWERS, TURNS[1:], strict=True):
        with dictated(bench.loaded, answer, bench.letter):
            (said,) = bench.ending.run([Request("chat", tuple(told))], max_tokens=64, beams=1)
        told += [Message("assistant", (TextPart(said.text.strip()),)), Message("user", (TextPart(text),))]
        request = Request("chat", tuple(told), text)
        bench.plain.settle("chat_turn", [request], 1)
        yield (
            partial(bench.clock, partial(bench.ending.run, [request], max_tokens=1, beams=1)),
            partial(bench.clock, partial(bench.plain.run, [request], 1)),
        )


def questions32(bench: Bench) -> Iterator[Pair]:
    """Seconds for many questions about one picture. The peer's batches are alike: one of them is timed."""
    image, count, tokens = bench.fresh(), bench.lengths.questions, bench.lengths.answer
    texts = [f"{QUESTIONS[n % len(QUESTIONS)]} Answer {n + 1}." for n in range(count)]
    requests = [bench.ask(image, text) for text in texts]
    bench.plain.settle("questions32", requests[:TOGETHER], tokens)
    yield (
        lambda: bench.clock(lambda: bench.vlm.run(requests, max_tokens=tokens, beams=1)),
        lambda: bench.batch(requests, tokens),
    )


def rotations(bench: Bench) -> Iterator[Pair]:
    """Seconds for questions with four options in four rotations: scored, and by the peer generated, batches alike."""
    yield _rotated(bench, bench.lengths.rotated)


def rotation(bench: Bench) -> Iterator[Pair]:
    """The same for one question about a picture that nobody asked about before."""
    yield _rotated(bench, 1)


def _rotated(bench: Bench, count: int) -> Pair:
    image = bench.fresh()
    questions, requests = [], []
    for number, turn in itertools.product(range(count), range(4)):
        options = [OPTIONS[(place + turn) % 4] for place in range(4)]
        lines = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", options, strict=True))
        text = f"{number + 1}. {QUESTIONS[number % len(QUESTIONS)]}\n{lines}\nAnswer with one of these."
        request = bench.ask(image, text)
        questions.append((request.messages, OPTIONS))
        requests.append(request)
    longest = max(len(bench.loaded.tokenizer(text)["input_ids"]) for text in OPTIONS)
    bench.plain.settle(f"rotations of {count}", requests[:TOGETHER], longest)
    return (
        lambda: bench.clock(lambda: bench.ending.score_all(questions)),
        lambda: bench.batch(requests, longest),
    )


def folder(bench: Bench) -> Iterator[Pair]:
    """Seconds for captions of a folder of pictures of mixed sizes, a part of it at a time."""
    requests = [Request("caption", (Message("user", (ImagePart(path), TextPart(""))),)) for path in bench.folder]
    bench.plain.settle("folder", requests[:TOGETHER], bench.lengths.caption)
    for first in range(0, len(requests), TOGETHER):
        yield bench.both(requests[first : first + TOGETHER], bench.lengths.caption)


def decode(bench: Bench) -> Iterator[Pair]:
    """Seconds for each token of one answer after the first."""
    request, tokens = bench.ask(bench.fresh(), QUESTIONS[0]), bench.lengths.decode
    bench.plain.settle("decode", [request], tokens)

    def ours() -> float:
        speed = bench.speed(bench.vlm, request, tokens)
        if not bench.weighing:
            bench.decoding[0].append(speed)
            bench.reading.append(bandwidth(bench.device, size=read_bytes(bench.loaded)))
        return 1 / speed

    def theirs() -> float:
        speed = (tokens - 1) / bench.plain.seconds(request, tokens)[1]
        if not bench.weighing:
            bench.decoding[1].append(speed)
        return 1 / speed

    yield ours, theirs


def int8(bench: Bench) -> Iterator[Pair]:
    """Seconds for each token in int8 by the engine, and in the model's own precision by the peer."""
    request, tokens = bench.ask(bench.fresh(), QUESTIONS[0]), bench.lengths.decode
    bench.plain.settle("decode", [request], tokens)
    few = bench.quantised[0]
    yield (
        lambda: 1 / bench.speed(few, request, tokens),
        lambda: bench.plain.seconds(request, tokens)[1] / (tokens - 1),
    )


def int8_own(bench: Bench) -> Iterator[Pair]:
    """The same, and in the model's own precision by the engine too."""
    request, tokens = bench.ask(bench.fresh(), QUESTIONS[0]), bench.lengths.decode
    few = bench.quantised[0]
    yield lambda: 1 / bench.speed(few, request, tokens), lambda: 1 / bench.speed(bench.vlm, request, tokens)


def cold(bench: Bench) -> Iterator[Pair]:
    """Seconds for a request that shares nothing with any other."""
    request = bench.ask(bench.fresh(), f"{next(bench._seeds)}: {QUESTIONS[1]}")
    bench.plain.settle("cold", [request], bench.lengths.cold)
    yield bench.both([request], bench.lengths.cold)


def json(bench: Bench) -> Iterator[Pair]:
    """Seconds for each token of a JSON document that must satisfy a schema, and of an answer that is free."""
    schema = as_schema(["title", "description", "colour", "author", "date"])
    request = Request(
        "extract", (Message("user", (ImagePart(bench.fresh()), TextPart(""))),), schema=schema
    )  # fmt: skip
    tokens = bench.lengths.document
    yield (
        lambda: 1 / bench.speed(bench.ending, request, tokens, guided=True),
        lambda: 1 / bench.speed(bench.vlm, request, tokens),
    )


@dataclass(frozen=True)
class Row:
    """A row: the work, how many units of `unit` one run of it is, what the ratio should reach, what it needs."""

    work: Callable[[Bench], Iterator[Pair]]
    unit: str
    units: Callable[[Lengths], int] = lambda lengths: 1
    aims: dict[str, float] = field(default_factory=dict)
    skill: str = "ask"
    is_time: bool = False
    """Whether the value is seconds, not units a second."""
    parts: bool = False
    """Whether one run is many parts, each measured: it is run once, and warmed up with its first part."""


ROWS: dict[str, Row] = {
    "chat_turn": Row(chat_turn, "s to the first token", aims={"b": 10.0}, skill="chat", is_time=True),
    "questions32": Row(questions32, "questions / s", lambda lengths: lengths.questions, {"b": 6.0}),
    "rotations": Row(rotations, "questions / s", lambda lengths: 4 * lengths.rotated, {"b": 10.0}),
    "rotation": Row(rotation, "questions / s", lambda lengths: 4),
    "folder": Row(
        folder, "pictures / s", lambda lengths: min(TOGETHER, lengths.pictures), {"b": 1.5}, "caption", parts=True
    ),
    "decode": Row(decode, "tokens / s", aims={"a": 3.0, "e": 3.0}),
    "int8": Row(int8, "tokens / s", aims={"b": 2.0}),
    "int8/own": Row(int8_own, "tokens / s"),
    "cold": Row(cold, "requests / s", aims={"b": 0.97}),
    "json": Row(json, "tokens / s", aims={"b": 0.95}, skill="extract"),
}


def read_bytes(loaded: Loaded) -> int:
    """Bytes of the weights that one token of an answer needs: the decoder's and the output layer's.

    What makes keys and values of an encoder's output is needed once, and does not count.
    """
    model = loaded.model
    owners = [
        module
        for module in model.modules()
        if isinstance(getattr(module, "layers", None), torch.nn.ModuleList) and hasattr(module, "embed_tokens")
    ]
    decoder = owners[-1].layers  # of an encoder-decoder, the decoder is the second
    once = ("encoder_attn.k_proj", "encoder_attn.v_proj")
    needed = [weight for name, weight in decoder.named_parameters() if not any(part in name for part in once)]
    weights = {id(weight): weight.nbytes for weight in (*needed, *model.get_output_embeddings().parameters())}
    return sum(weights.values())


def agree(bench: Bench) -> float:
    """How far the engine's logits are from transformers' over one answer, as a share of how much logits vary.

    Raises SystemExit where that is more than the precision explains.
    """
    request, tokens = bench.ask(bench.fresh(), QUESTIONS[0]), min(bench.lengths.decode, 12)
    made = bench.plain.generate([request], tokens, logits=True)
    wanted = torch.stack(made.logits)[:, 0].float()
    ids = made.sequences[0, -tokens:].tolist()
    options = Options(max_tokens=tokens, cache=False)
    loop = bench.vlm._runner.loop(options, bench.vlm.loaded)
    job = Job(0, bench.vlm._runner.prompts([request], options)[0], options, Rules())
    with torch.inference_mode():
        ((_, slot, first),) = loop.starts.begin([job])
        got = torch.cat((first[None].float(), loop.stepper.extend([ids[:-1]], [slot])[0].float()))
        loop.stepper.drop([slot])
    far = float((got - wanted).abs().mean() / wanted.std())
    most = 1e-4 if bench.loaded.model.dtype == torch.float32 else 0.1
    if not far < most:
        raise SystemExit(f"{bench.letter}: the engine's logits are {far:.2g} of their spread away from transformers'")
    return far
