"""Stages 2 to 5: the decoder learns to talk, the adapter to translate, and all of it to answer every skill.

All questions of a scene stand after ONE image prefix in one row; each sees the prefix and itself only, and its
positions start where the prefix ends. So a picture is encoded once for ten questions, and training sees what inference
will see.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from loop import Plan, train
from notes import HEADS
from safetensors.torch import load_file
from scenes import SPEAK, batches, known, questions
from see import collate, dense_loss, normalised
from see import config as sight_config
from share import lay_out, share, units
from targets import frame, targets
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, MistralConfig, PreTrainedTokenizerFast

from imglish.core.types import Sample
from imglish.families._base import Control, Piece, Plain, Spelled, encode_pieces
from imglish.families._imglish_text import (
    LOCATIONS,
    POLYGON_POINTS,
    SPECIAL_TOKENS,
    boxes_text,
    points_text,
    render_sample,
)
from imglish.nn import Bridge, BridgeConfig, SightConfig
from imglish.world import _beyond
from imglish.world._scene import Language, Scene

SIDE, TEXT, CLOSED = 192, 240, -1e4  # pixels, question tokens in a row, "may not look"
NOTES = 112
IMAGE_TOKENS, FRAME_TOKENS = 144 + NOTES, 12
PLACES = range(len(SPECIAL_TOKENS) - len(LOCATIONS), len(SPECIAL_TOKENS))  # ids of the location tokens
LOUD = 8.0  # the norm that words begin with; pictures begin with twice that
OUTLINE = 1.0  # what a location token of an outline counts
NEAR = 0.2  # of the loss goes to each neighbour of a location's bin
OFTEN = {  # how eagerly a topic is drawn; some have many questions to a scene, some have one
    "colour": 5.0, "presence": 2.0, "refer": 2.0, "segment": 4.0, "detect": 3.0, "read": 3.0, "caption": 1.5,
    "summary": 0.4, "unknown": 1.0, "identify": 0.5, "relation": 0.6,
}  # fmt: skip
SHOWN = ("colour", "presence", "count", "refer", "detect", "read", "segment", "chart", "change")  # topics in the log
SCENES = {"talk": 24, "align": 16, "instruct": 16, "polish": 16}  # in a batch


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


def bridge(tokenizer: PreTrainedTokenizerFast) -> Bridge:
    """The shipped model, untrained."""
    decoder = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=704, num_hidden_layers=4, head_dim=64,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=2048, tie_word_embeddings=True,
        rope_theta=10000.0, sliding_window=None,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    sight = sight_config()
    configuration = BridgeConfig(
        vision_config=sight, text_config=decoder, adapter="reader", adapter_options=reader_options(sight),
        frame_adapter="concat", frame_adapter_options={"window": [3, 4]}, tie_word_embeddings=True,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    configuration._attn_implementation = "eager"
    model = loud(Bridge(configuration))
    share(model, tokenizer)
    lay_out(model.decoder.model.embed_tokens.weight, PLACES, LOUD)
    return model


def reader_options(sight: SightConfig) -> dict[str, int]:
    """Where the adapter finds what the encoder read, and how much of it becomes notes."""
    return {
        "hidden": 512 + units(sight), "most": NOTES, "cells_at": sight.widths[3], "class_size": sight.class_size,
        "colour_size": sight.colour_size, "octaves": sight.octaves, "letter_size": sight.letter_size,
        "mark_size": sight.mark_size, "points": POLYGON_POINTS,
    }  # fmt: skip


@torch.no_grad()
def loud(model: Bridge) -> Bridge:
    """Words as loud as pictures in the residual stream, and both as what the layers add; the logits stay small.

    Words that begin at a norm of 0.3 are drowned by the first layer: that decoder had not learned to look for the thing
    that a question names after 2,000 steps; with this and `share`, one learns it in 200.
    """
    width = model.decoder.config.hidden_size
    model.decoder.model.embed_tokens.weight.normal_(std=LOUD * width**-0.5)
    model.decoder.model.norm.weight.fill_(0.25 / LOUD)
    last = model.adapter.project[-1]
    last.weight.normal_(std=8 * LOUD * (width * last.in_features) ** -0.5)
    return model


def roughen(rng: random.Random, text: str) -> str:
    """A question as people type it: sometimes in lower case, sometimes without its question mark."""
    if text and rng.random() < 0.25:
        text = text[0].lower() + text[1:] if rng.random() < 0.6 else text.lower()
    if text and rng.random() < 0.25:
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


def answer_loss(model: Bridge, batch: dict[str, Any], features: list[Tensor] | None) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers, each question weighted by the root of its length, and the share of tokens right."""
    embedded = model.embed(batch["ids"], features)
    hidden = model.decoder.model(
        inputs_embeds=embedded,
        attention_mask=batch["mask"].to(embedded.dtype),
        position_ids=batch["position"],
        use_cache=False,
    ).last_hidden_state
    places = batch["weight"][:, 1:] > 0
    wanted, weight = batch["ids"][:, 1:][places], batch["weight"][:, 1:][places]
    logits = model.decoder.lm_head(hidden[:, :-1][places]).float()
    losses = F.cross_entropy(logits, wanted, reduction="none")
    place = (wanted > PLACES[0]) & (wanted < PLACES[-1])
    if place.any():  # a location's neighbours are nearly right
        chosen, at = logits[place].log_softmax(-1), wanted[place]
        beside = chosen.gather(1, (at + 1)[:, None]) + chosen.gather(1, (at - 1)[:, None])
        losses = losses.index_put((place,), (1 - 2 * NEAR) * losses[place] - NEAR * beside[:, 0])
    guess = logits.argmax(-1)
    right = ((guess == wanted) | (place & ((guess - wanted).abs() <= 2))).float()  # two bins are three pixels
    topic = batch["topic"][:, 1:][places]
    end = wanted == batch["end"]
    figures = {
        name: float(right[chosen].mean())
        for number, name in enumerate(SHOWN)
        if (chosen := (topic == number) & ~end).any()
    }
    figures = {"right": float(right.mean()), "tokens": float(len(wanted)), **figures}
    return (losses * weight).sum() / weight.sum(), figures


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Plain attention that stays in the precision of its inputs: on a CPU, copies to float32 and back take a third."""
    scores = ((query * scaling) @ key.transpose(2, 3)).add_(mask.to(query.dtype))
    return (scores.softmax(-1) @ value).transpose(1, 2), None


def freeze(model: Bridge, stage: str) -> None:
    """Which parts learn: talk the decoder, align the adapter and the codes, instruct both, polish everything."""
    model.requires_grad_(stage in ("talk", "instruct", "polish"))
    model.vision.requires_grad_(stage == "polish")
    for name in ("class_codes", "colour_codes", "letter_codes", "mark_codes"):
        getattr(model.vision, name).requires_grad_(stage != "talk")
    for part in (model.adapter, model.frame_adapter):
        part.requires_grad_(stage != "talk")


def inherit(model: Bridge, plan: Plan) -> None:
    """Weights of the last stage that was finished before this one."""
    order = ("talk", "align", "instruct", "polish")
    sight = plan.out / "see.safetensors"
    if sight.exists() and plan.name != "talk":
        model.vision.load_state_dict(load_file(sight))
    for stage in reversed(order[: order.index(plan.name)]):
        if (plan.out / f"{stage}.safetensors").exists():
            saved = load_file(plan.out / f"{stage}.safetensors")
            if stage == "talk":
                saved = {key: value for key, value in saved.items() if key.startswith("decoder.")}
            model.load_state_dict(saved, strict=False)
            return


class Eyes:
    """The encoder as its own stage left it, or leaves it: a stage that runs beside it takes over what was saved."""

    def __init__(self, model: Bridge, plan: Plan) -> None:
        self.model, self.file, self.stamp = model, plan.out / "see.safetensors", 0.0
        self.frozen = plan.name in ("align", "instruct")

    def refresh(self) -> None:
        """Load the encoder again where its file has changed; the codes are learned here and stay."""
        if self.frozen and self.file.exists() and self.file.stat().st_mtime != self.stamp:
            self.stamp = self.file.stat().st_mtime
            saved = {name: value for name, value in load_file(self.file).items() if "_codes" not in name}
            self.model.vision.load_state_dict(saved, strict=False)


def run(plan: Plan) -> None:
    """Train one stage; the result is `<stage>.safetensors`."""
    torch.manual_seed(plan.rank)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(plan.out / "tokenizer")
    model = bridge(tokenizer)
    inherit(model, plan)
    model.to(plan.device).train()
    model.vision.to(memory_format=torch.channels_last)
    freeze(model, plan.name)
    AttentionInterface.register("packed", attention)
    model.decoder.config._attn_implementation = "packed"
    packer = Packer(tokenizer, plan.name)
    everything = plan.name == "polish"
    names = {name: number for number, name in enumerate(model.vision.config.classes) if name}
    shades = {name: number for number, name in enumerate(model.vision.config.colours)}
    model.vision.train(everything)
    eyes = Eyes(model, plan)

    def load(first: int) -> Iterator[dict[str, Any]]:
        for seeds in batches(plan.name, plan.rank, plan.workers, SCENES[plan.name], first):
            rows = sorted((packer.row(seed) for seed in seeds), key=lambda row: len(row.prefix) + len(row.ids))
            batch = collated(rows, tokenizer.eos_token_id)
            if everything:
                stills = [row for row in rows if not row.frames and len(row.pixels) == 1]
                batch["dense"] = (
                    collate([targets(row.scene, 0, names, shades, SIDE) for row in stills]) if stills else None
                )
            yield {key: value.to(plan.device) if isinstance(value, Tensor) else value for key, value in batch.items()}

    def loss_of(batch: Any) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(plan.device.split(":")[0], torch.bfloat16):
            features = None
            if batch["pixels"] is not None:
                eyes.refresh()
                with torch.set_grad_enabled(everything):
                    tokens, dense = model.vision.see(batch["pixels"])
                features = adapted(model, model.vision.describe(tokens, dense), batch["frames"])
            loss, figures = answer_loss(model, batch, features)
        if everything and batch["dense"] is not None:
            with torch.autocast(plan.device.split(":")[0], torch.bfloat16):
                _, dense = model.vision.see(batch["dense"]["pixels"].to(plan.device))
            loss = loss + 0.1 * dense_loss(model.vision, dense.float(), batch["dense"])[0]
        return loss, {
            "samples": len(batch["rows"]),
            "questions": sum(row.segment[-1] for row in batch["rows"]),
            **figures,
        }

    train(model, load, loss_of, plan)


def adapted(model: Bridge, described: Tensor, frames: Tensor) -> list[Tensor]:
    """What the decoder is handed of each picture, in reading order."""
    features = model.adapter(described)
    if not frames.any():
        return list(features)
    rows, columns = model.adapter.out_grid
    small = iter(model.frame_adapter(features[frames][:, : rows * columns]))
    return [next(small) if frame else whole for whole, frame in zip(features, frames.tolist(), strict=True)]
