"""Stages 2 to 5: the decoder learns to talk, the adapter to translate, and all of it to answer every skill.

What they see is packed in rows of one picture and many questions (`pack.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from axes import COLOUR, NAMES, NOUN, PAIRS
from loop import Plan, train
from notes import HEADS
from pack import NOTES, PLACES, SHOWN, SIDE, Packer, collated
from safetensors.torch import load_file
from scenes import batches
from see import collate, dense_loss
from see import config as sight_config
from share import lay_out, share, units
from targets import frame, targets
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, MistralConfig, PreTrainedTokenizerFast

from imglish.core import geometry
from imglish.families._imglish_text import POLYGON_POINTS
from imglish.nn import Bridge, BridgeConfig, SightConfig

LOUD = 8.0  # the norm that words begin with; pictures begin with twice that
SAME_THING = 0.6  # overlap of the box of a note with that of the true outline
NEAR = 0.2  # of the loss goes to each neighbour of a location's bin
SCENES = {"talk": 24, "align": 16, "instruct": 16, "polish": 16}  # in a batch


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


@torch.no_grad()
def align_outlines(model: Bridge, batch: dict[str, Any], described: Tensor) -> None:
    """Write each true outline with the points that lie nearest to those of the note on its thing.

    An outline can be written in many ways that are all true. Where the model copies a note, the way that is nearest to
    that note is the one to ask for, as detectors are trained on the assignment that is nearest to what they found.
    """
    first = np.cumsum([0, *(len(row.pixels) for row in batch["rows"])])
    for number, row in enumerate(batch["rows"]):
        if not row.outlines:
            continue
        told = model.adapter.told(described[first[number]])
        fitted = frame(row.scene.images[0], SIDE)[1]
        for start, polygon in row.outlines:
            ring = np.asarray(fitted.forward(np.asarray(polygon, float))) / SIDE
            box = np.array([[*ring.min(0), *ring.max(0)]])
            overlaps = geometry.iou(box, told.boxes)[0] if len(told.boxes) else np.zeros(1)
            traced = told.traced[int(overlaps.argmax())] if overlaps.max() > SAME_THING else None
            if traced is not None:
                bins = (nearest(ring, traced) * len(PLACES)).astype(int).clip(0, len(PLACES) - 1)
                begin = len(row.prefix) + start
                batch["ids"][number, begin : begin + bins.size] = torch.from_numpy(bins.reshape(-1)) + PLACES[0]


def nearest(ring: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n, 2) the points of a polygon's outline (m, 2) that are nearest to `points` (n, 2)."""
    ends = np.roll(ring, -1, 0) - ring
    along = ((points[:, None] - ring) * ends).sum(-1) / np.maximum((ends**2).sum(-1), 1e-12)
    feet = ring + along.clip(0, 1)[..., None] * ends
    best = ((points[:, None] - feet) ** 2).sum(-1).argmin(1)
    return np.asarray(feet[np.arange(len(points)), best])


def freeze(model: Bridge, stage: str) -> None:
    """Which parts learn: talk the decoder, align the adapter and the codes, instruct both, polish everything."""
    model.requires_grad_(stage in ("talk", "instruct", "polish"))
    model.vision.requires_grad_(stage == "polish")
    for name in ("class_codes", "colour_codes", "letter_codes", "mark_codes"):
        getattr(model.vision, name).requires_grad_(stage != "talk")
    for part in (model.adapter, model.frame_adapter):
        part.requires_grad_(stage != "talk")


def pin(model: Bridge) -> None:
    """What the heads that `point` laid compare does not learn, nor what those of the first layer hold.

    A row without a gradient has none after Muon's orthogonalisation, either.
    """
    wide = model.decoder.config.head_dim
    for layer, head in (NOUN, COLOUR, PAIRS, NAMES):
        attention = model.decoder.model.layers[layer].self_attn
        rows = slice(head * wide, (head + 1) * wide)
        for part in (attention.q_proj, attention.k_proj, *([attention.v_proj] if layer == 0 else [])):
            part.weight.register_hook(partial(_without, rows))
        if layer == 0:
            attention.o_proj.weight.register_hook(partial(_without, (slice(None), rows)))


def _without(place: Any, gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[place] = 0
    return gradient


def inherit(model: Bridge, plan: Plan) -> None:
    """Weights of the last stage that was finished before this one."""
    order = ("talk", "align", "point", "instruct", "polish")
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
    if plan.name in ("instruct", "polish"):
        pin(model)
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
                described = model.vision.describe(tokens, dense)
                align_outlines(model, batch, described)
                features = adapted(model, described, batch["frames"])
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
