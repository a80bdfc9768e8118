"""Between `align` and `instruct`: heads that go from what a list just said to what it says next, laid as measured.

`share` and `notes` lay heads along directions that are drawn. By the time the notes mean something the stream has
moved on, and such heads are not missed when they are taken out. Here four heads of the decoder as it is are laid anew,
along directions that are fitted (ridge regression) to what its stream really holds: the last noun and the last colour
that were said (layer 0), the notes whose past they are, and what these notes tell (layers 2 and 3). A head laid so
looks at the right note nine times in ten before it has learned anything. What they compare does not learn
(`speak.pin`): half an hour at the rates of `instruct` had dissolved it. Everything else is trained on.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from axes import COLOUR, NAMES, NOUN, PAIRS, colours_of, names_of, token_of
from loop import Plan
from notes import NUMBERS, WAVE
from pack import IMAGE_TOKENS, NOTES, Packer, Row, collated
from safetensors.torch import save_file
from scenes import STRIDE, seeds
from speak import adapted, attention, bridge, inherit
from torch import Tensor
from transformers import AttentionInterface, PreTrainedTokenizerFast

from imglish import world
from imglish.nn import Bridge
from imglish.nn._notes import Things

SORT, NEAR, SPELLS = 5.0, 3.2, range(4, 10)  # how keenly a sort of word is looked for, and the nearest; which waves say
HELD = {"name": 3.0, "colour": 4.0}  # how loud what was said is held
KEEN, SHADE, DIGIT = 4.5, 1.2, 0.5  # how strongly notes are looked for; what a colour counts; how loud numbers are
MAIN = 16  # of the numbers of a name's code, those that tell names apart best
ASKED, LISTED, BATCH = 40, 112, 8  # rows of questions, and pictures of things, that directions are fitted to
Words = dict[int, int]  # a token's number to the number of what it names


@dataclass
class Batch:
    """Rows as the decoder gets them, and what is told of the things of each."""

    rows: list[Row]
    inputs: dict[str, Any]
    told: list[Things]


class Stream:
    """What the decoder holds, layer by layer, on rows of questions and on pictures of things alone."""

    def __init__(self, model: Bridge, packer: Packer) -> None:
        self.model = model
        drawn = seeds("align", STRIDE - ASKED - LISTED, ASKED + LISTED)
        asked = [packer.row(seed) for seed in drawn[:ASKED]]
        self.asked = list(self._batches([row for row in asked if not row.frames and len(row.pixels) == 1]))
        self.listed = list(self._batches([self._bare(packer, seed) for seed in drawn[ASKED:]]))

    def _bare(self, packer: Packer, seed: int) -> Row:
        scene = world.draw("things", seed)
        row = packer._prefix(scene, next(s for s in world.samples(scene) if len(s.images) == 1), random.Random(seed))
        row.add(1, [], [packer.bos], len(row.prefix))
        return row

    def _batches(self, rows: list[Row]) -> Iterator[Batch]:
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            batch = collated(some)
            described = self.model.vision.describe(*self.model.vision.see(batch["pixels"]))
            inputs = {
                "inputs_embeds": self.model.embed(batch["ids"], adapted(self.model, described, batch["frames"])),
                "attention_mask": batch["mask"], "position_ids": batch["position"], "use_cache": False,
            }  # fmt: skip
            yield Batch(some, inputs, [self.model.adapter.told(picture) for picture in described])

    def at(self, depth: int, batches: list[Batch], *, normed: bool = True) -> list[Tensor]:
        """(rows, tokens, width) what goes into a layer, for each batch."""
        got: list[Tensor] = []
        norm = self.model.decoder.model.layers[depth].input_layernorm
        hook = norm.register_forward_hook(lambda _, before, after: got.append(after if normed else before[0]))
        for batch in batches:
            self.model.decoder.model(**batch.inputs)
        hook.remove()
        return [layer.float() for layer in got]

    def questions(self, depth: int, *, normed: bool = True) -> Iterator[tuple[Row, Tensor]]:
        """Each row of questions with the stream (tokens, width) behind its picture."""
        for batch, layer in zip(self.asked, self.at(depth, self.asked, normed=normed), strict=True):
            for row, stream in zip(batch.rows, layer, strict=True):
                yield row, stream[len(row.prefix) : len(row.prefix) + len(row.ids)]

    def notes(self, depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """(notes, width) of things, (notes, size) what they tell, (tokens, width) of all else."""
        here, tell, other = [], [], []
        for batches in (self.listed, self.asked):
            for batch, layer in zip(batches, self.at(depth, batches), strict=True):
                for row, told, stream in zip(batch.rows, batch.told, layer, strict=True):
                    first, count = 1 + IMAGE_TOKENS - NOTES, len(told.names)
                    here.append(stream[first : first + count])
                    tell.append(told.things.float())
                    other += [stream[1:first][::6], stream[first + count : len(row.prefix) + len(row.ids)][::5]]
        return torch.cat(here), torch.cat(tell), torch.cat(other)


def fit(inputs: Tensor, wanted: Tensor, strength: float = 1e-3) -> Tensor:
    """(wanted, inputs) the matrix that reads `wanted` off `inputs`: ridge regression, in double precision."""
    x, y = inputs.double(), wanted.double()
    square = x.T @ x
    square += strength * square.diagonal().mean() * torch.eye(len(square), dtype=x.dtype)
    return torch.linalg.solve(square, x.T @ y).T.float()


def last_said(stream: Stream, depth: int, words: Words, codes: Tensor) -> Tensor:
    """(size, width) what reads the code of the last of those words off the stream."""
    here, code = [], []
    for row, layer in stream.questions(depth):
        last = None
        for place, token in enumerate(row.ids):
            if place and row.segment[place] != row.segment[place - 1]:
                last = None
            last = words.get(token, last)
            if last is not None:
                here.append(layer[place])
                code.append(codes[last])
    return fit(torch.stack(here), torch.stack(code))


def quiet(stream: Stream, count: int) -> Tensor:
    """(count, width) directions in which the stream of words says least, in the layers where heads are laid."""
    spread: Any = 0
    for depth in (1, 2, 3):
        for _, layer in stream.questions(depth, normed=False):
            unit = torch.nn.functional.normalize(layer, dim=1)
            spread = spread + unit.T @ unit / len(unit)
    return torch.linalg.eigh(spread)[1][:, :count].T


class Pointer:
    """Lays heads of one model."""

    def __init__(self, model: Bridge, tokenizer: Any) -> None:
        self.layers, self.wide = model.decoder.model.layers, model.decoder.config.head_dim
        self.table = model.decoder.model.embed_tokens.weight
        half = self.wide // 2
        self.slow = [*range(half - 12, half), *range(self.wide - 12, self.wide)]  # hardly turned by places
        sight = model.vision
        self.words = {
            "name": _one(tokenizer, names_of(sight.config)),
            "colour": _one(tokenizer, colours_of(sight.config)),
        }
        self.codes = {"name": sight.class_codes.weight.float().T, "colour": sight.colour_codes.weight.float().T}
        digits = [token_of(tokenizer, str(number + 1)) for number in range(NUMBERS)]
        rows = [torch.zeros(len(self.table[0])) if token is None else self.table[token] for token in digits]
        self.digits = DIGIT * (torch.stack(rows, 1) - self.table.mean(0)[:, None])
        self.digits[:, [number for number, token in enumerate(digits) if token is None or number == 0]] = 0

    def lay(self, where: tuple[int, int], *, ask: Tensor, find: Tensor, take: Tensor, give: Tensor) -> None:
        """Set a head to compare `ask` (n, width) with `find`, and to hand on what it takes (m, width) as `give`."""
        depth, head = where
        part = self.layers[depth].self_attn
        rows = slice(head * self.wide, (head + 1) * self.wide)
        for weight, read in ((part.q_proj.weight, ask), (part.k_proj.weight, find)):
            weight[rows] = 0
            weight[[head * self.wide + place for place in self.slow[: len(read)]]] = read
        part.v_proj.weight[rows] = 0
        part.o_proj.weight[:, rows] = 0
        part.v_proj.weight[head * self.wide : head * self.wide + len(take)] = take
        part.o_proj.weight[:, head * self.wide : head * self.wide + len(take)] = give

    def hold(self, where: tuple[int, int], kind: str, held: Tensor) -> None:
        """Layer 0: the last word of a kind, laid along `held` (size, width)."""
        words, codes = self.words[kind], self.codes[kind]
        seen = self.layers[0].input_layernorm(self.table).float()
        weight = torch.full((len(seen), 1), 0.3)
        weight[list(words)] = 1
        code, sort = torch.zeros(len(seen), codes.shape[1]), torch.zeros(len(seen), 1)
        for token, number in words.items():
            code[token], sort[token] = codes[number], 1
        any_word = fit(seen, torch.ones(len(seen), 1))
        sorted_out = fit(seen * weight, sort * weight)
        take = fit(seen * weight, code * weight)
        self.lay(
            where, ask=SORT * any_word.repeat(4, 1), find=SORT * sorted_out.repeat(4, 1),
            take=take, give=HELD[kind] * held.T,
        )  # fmt: skip
        for part in (self.layers[0].self_attn.q_proj, self.layers[0].self_attn.k_proj):
            for step in SPELLS:
                part.weight[where[1] * self.wide + step] = NEAR * any_word[0]

    def spoken(self, kind: str) -> Tensor:
        """(width, size) how a code stands in the words that say it."""
        words = self.words[kind]
        code = self.codes[kind][list(words.values())]
        said = self.table[list(words)]
        return fit(code - code.mean(0), said - said.mean(0))


def _one(tokenizer: Any, names: list[tuple[str, int]]) -> Words:
    """Tokens that stand for one thing only."""
    said: dict[int, set[int]] = defaultdict(set)
    for name, number in names:
        token = token_of(tokenizer, name)
        if token is not None:
            said[token].add(number)
    return {token: min(numbers) for token, numbers in said.items() if len(numbers) == 1}


@torch.inference_mode()
def point(model: Bridge, tokenizer: Any, stage: str = "instruct") -> None:
    """Lay the four heads of a model in place."""
    stream, pointer = Stream(model, Packer(tokenizer, stage)), Pointer(model, tokenizer)
    size, code = model.vision.config.class_size, model.vision.config.class_size + model.vision.config.colour_size
    held = quiet(stream, code)
    pointer.hold(NOUN, "name", held[:size])
    pointer.hold(COLOUR, "colour", held[size:])
    pair = 2 * code + 10 * WAVE  # where `Things.things` tells of the name and the colour before, and so on
    name = pair + code + 1
    numbers = name + size + 1 + 4 * WAVE + 1
    spoken = [pointer.spoken("name"), pointer.spoken("colour"), pointer.digits]

    def reader(depth: int) -> Any:
        here, tell, other = stream.notes(depth)
        some = other[torch.randperm(len(other))[: 2 * len(here)]]

        def read(*columns: slice) -> Tensor:
            wanted = torch.cat([tell[:, column] for column in columns], 1)
            none = torch.zeros(len(some), wanted.shape[1])
            return fit(torch.cat((here, 0.7 * some)), torch.cat((wanted, none)))

        return read

    codes = pointer.codes["name"][1:]
    main = torch.linalg.svd(codes - codes.mean(0), full_matrices=False)[2][:MAIN]
    read = reader(PAIRS[0])
    names = last_said(stream, PAIRS[0], pointer.words["name"], pointer.codes["name"])
    shades = last_said(stream, PAIRS[0], pointer.words["colour"], pointer.codes["colour"])
    past = read(slice(pair, pair + code))
    pointer.lay(
        PAIRS, ask=KEEN * torch.cat((main @ names, SHADE * shades)),
        find=KEEN * torch.cat((main @ past[:size], SHADE * past[size:])),
        take=read(slice(0, code), slice(numbers + NUMBERS, numbers + 2 * NUMBERS)), give=torch.cat(spoken, 1),
    )  # fmt: skip
    read = reader(NAMES[0])
    names = last_said(stream, NAMES[0], pointer.words["name"], pointer.codes["name"])
    pointer.lay(
        NAMES, ask=KEEN * names, find=KEEN * read(slice(name, name + size)),
        take=read(slice(0, size), slice(numbers, numbers + NUMBERS)), give=torch.cat((spoken[0], spoken[2]), 1),
    )  # fmt: skip


def run(plan: Plan) -> None:
    """Lay the heads; the result is `point.safetensors`."""
    torch.manual_seed(plan.rank)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(plan.out / "tokenizer")
    model = bridge(tokenizer)
    inherit(model, plan)
    model.eval()
    AttentionInterface.register("packed", attention)
    model.decoder.config._attn_implementation = "packed"
    point(model, tokenizer)
    kept = {name: part.contiguous() for name, part in model.state_dict().items() if not name.endswith("lm_head.weight")}
    save_file(kept, plan.out / "point.safetensors")
