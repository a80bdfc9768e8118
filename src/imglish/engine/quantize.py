"""Weights in fewer bits: the decoder's matrices in int8 or int4, and how far its choices stay the same.

The output layer, the embeddings and the vision encoder stay as they are: they are a small part of the work, and what
is lost in them is lost in every token.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from imglish.core.errors import InputError
from imglish.core.types import SKILLS, ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine import _fast_choice as choice
from imglish.engine._quantized import GROUP, Int4Linear, Int8Linear, on_cuda
from imglish.engine._quantized_plain import PlainInt8Linear, is_quick
from imglish.families._base import Loaded

if TYPE_CHECKING:
    from imglish.engine.prompt import Prompt

KINDS = ("int8", "int4")
LOOKED, WRITTEN = 2, 16  # pictures that agreement is measured on; tokens written about each
SIZE = 1024  # of the matrix on which int4 is tried


@dataclass(frozen=True)
class Agreement:
    """How a quantised model continues what it wrote before: over `tokens` places of drawn pictures' answers."""

    kind: str
    tokens: int
    same: float
    """Share of the places where the most probable token is the same."""
    divergence: float
    """Mean Kullback-Leibler divergence of the next token's distribution, in nats."""
    saved: int
    """Bytes of weights that are held no longer."""

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.saved / 1e6:.0f} MB less; the most probable token is the same in {self.same:.1%} "
            f"of {self.tokens} places (divergence {self.divergence:.4f})"
        )


def quantize(loaded: Loaded, kind: str) -> Agreement:
    """Turns a loaded model's decoder into int8 or int4, in place, and says how far it still agrees with itself.

    Raises InputError where the kind is unknown, where this device cannot do it, or where int4 would not be quicker
    than int8; MissingExtra on CUDA without bitsandbytes.
    """
    linears = check(loaded, kind)
    before = written(loaded)
    saved = 0
    for parent, name, linear in linears:
        layer = _made(linear, kind)
        saved += linear.weight.nbytes
        saved -= int(getattr(layer, "nbytes", 0)) or sum(weight.nbytes for weight in layer.parameters())
        setattr(parent, name, layer)
    loaded.extra.pop("_stepper", None)
    return _agreement(loaded, kind, before, saved)


def check(loaded: Loaded, kind: str) -> list[tuple[nn.Module, str, nn.Linear]]:
    """What would be quantised: (parent, name, layer). Raises InputError where it cannot be."""
    if kind not in KINDS:
        raise InputError(f"quantize is {kind!r}; allowed are {', '.join(KINDS)}")
    device = loaded.model.device.type
    if device not in ("cpu", "cuda"):
        raise InputError(f"{kind} needs a CPU or a CUDA device, and the model is on {device!r}", hint="--device cpu")
    if device == "cpu" and "fbgemm" not in torch.backends.quantized.supported_engines:
        raise InputError(f"{kind} on a CPU needs one of the x86 kind", hint="leave --quantize out")
    linears = [
        (parent, name, child)
        for layers in _layers(loaded.model)
        for parent in layers.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]
    if not linears:
        raise InputError("the model has no matrices that can be quantised", hint="it may have been quantised before")
    if device == "cpu" and kind == "int4":
        int8, int4 = _seconds()
        if int4 >= int8:
            raise InputError(
                f"on this processor int4 takes {int4 / int8:.1f} times as long as int8", hint="--quantize int8"
            )
    return linears


def _layers(model: Any) -> list[nn.ModuleList]:
    """The stacks of layers that read or write text: those whose owner has word embeddings."""
    return [
        module.layers
        for module in model.modules()
        if isinstance(getattr(module, "layers", None), nn.ModuleList)
        and isinstance(getattr(module, "embed_tokens", None), nn.Embedding)
    ]


def _made(linear: nn.Linear, kind: str) -> Any:
    if linear.weight.device.type == "cuda":
        return on_cuda(linear, int(kind[3:]))
    if kind == "int4" and Int4Linear.fits(linear):
        return Int4Linear(linear)
    return PlainInt8Linear(linear) if is_quick() and PlainInt8Linear.fits(linear) else Int8Linear(linear)


@functools.cache
def _seconds() -> tuple[float, float]:
    """(int8's, int4's) time for one token and one matrix on this CPU, in turns."""
    with torch.inference_mode():
        linear = nn.Linear(SIZE, SIZE * GROUP // 16, bias=False)
        ways = {"int8": Int8Linear(linear), "int4": Int4Linear(linear)}
        x = torch.randn(1, SIZE)
        best = choice.timed({name: functools.partial(layer, x) for name, layer in ways.items()}, "cpu")
    return best["int8"], best["int4"]


@torch.inference_mode()
def written(loaded: Loaded) -> list[tuple[Prompt, list[int], Tensor]]:
    """(prompt, the most probable answer's tokens, log-probabilities (tokens, vocab)) for a few drawn pictures."""
    from imglish.engine.generate import Options
    from imglish.engine.loop import Loop
    from imglish.engine.runner import Runner

    runner, options = Runner(), Options(cache=False)
    loop: Loop = runner.loop(options, loaded)
    found = []
    for prompt in runner.prompts(_requests(loaded), options):
        slot, logits = _begun(loop, prompt)
        tokens, seen = [], [logits]
        for _ in range(WRITTEN - 1):
            tokens.append(int(seen[-1].argmax()))
            seen.append(loop.stepper.step(torch.tensor(tokens[-1:], device=loop.stepper.device), [slot])[0].float())  # type: ignore[attr-defined]
        loop.stepper.drop([slot])
        found.append((prompt, tokens, torch.stack(seen).log_softmax(-1)))
    return found


@torch.inference_mode()
def _agreement(loaded: Loaded, kind: str, before: Sequence[tuple[Prompt, list[int], Tensor]], saved: int) -> Agreement:
    from imglish.engine.generate import Options
    from imglish.engine.runner import Runner

    loop = Runner().loop(Options(cache=False), loaded)
    same, total, divergence = 0, 0, 0.0
    for prompt, tokens, wanted in before:
        slot, first = _begun(loop, prompt)
        rest = loop.stepper.extend([tokens], [slot])[0].float()
        loop.stepper.drop([slot])
        got = torch.cat((first[None], rest)).log_softmax(-1)
        same += int((got.argmax(-1) == wanted.argmax(-1)).sum())
        total += len(wanted)
        divergence += float((wanted.exp() * (wanted - got)).sum())
    return Agreement(kind, total, same / total, divergence / total, saved)


def _begun(loop: Any, prompt: Prompt) -> tuple[Any, Tensor]:
    from imglish.engine._sampling import Rules
    from imglish.engine.generate import Options
    from imglish.engine.loop import Job

    ((_, slot, logits),) = loop.starts.begin([Job(0, prompt, Options(cache=False), Rules())])
    return slot, logits.float()


def _requests(loaded: Loaded) -> list[Request]:
    """What the model is asked about drawn scenes: what it can best be asked for."""
    from imglish.world import draw, seeds

    family = loaded.family
    skill = next(skill for skill in ("caption", "ask", *SKILLS) if skill in family.skills)
    requests = []
    for seed in seeds("held", 0, LOOKED):
        image = draw("things", seed).images[0]
        part = VideoPart((image, image)) if skill == "watch" else ImagePart(image)
        text = "" if skill in ("caption", "read", "detect") else "What is there?"
        requests.append(Request(skill, (Message("user", (part, TextPart(text))),), text))
    return requests
