"""What is asked of every picture of a folder: a skill with its arguments, once for all pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from PIL import Image

from imglish.core.errors import InputError, UnknownName
from imglish.core.types import SKILLS, Box, ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine import _given
from imglish.engine.schema import as_schema
from imglish.engine.wording import caption_instruction

# the arguments that each skill takes, the one it cannot do without first
TAKES: Mapping[str, tuple[str, ...]] = {
    "ask": ("text",),
    "caption": ("text", "detail", "tone"),
    "detect": ("labels",),
    "ground": ("text",),
    "segment": ("text",),
    "read": (),
    "identify": ("box",),
    "count": ("text",),
    "extract": ("schema",),
    "chat": ("text",),
    "watch": ("text",),
}
NEEDS = frozenset({"ask", "ground", "segment", "identify", "count", "extract", "chat", "watch"})
# options that change no answer
WITHOUT_EFFECT = frozenset({"batch", "memory_limit", "cancel", "cache", "tokens"})


@dataclass(frozen=True)
class Asking:
    """A skill with its arguments; None is the skill's own default. Raises InputError where they do not go together."""

    skill: str
    text: str | None = None
    labels: Sequence[str] | None = None
    box: Sequence[float] | None = None
    schema: Any = None
    detail: str | None = None
    tone: str | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        if self.skill not in SKILLS:
            raise UnknownName("skill", self.skill, SKILLS)
        takes = TAKES[self.skill]
        for name, value in self.arguments().items():
            if name not in takes:
                allowed = f"{self.skill} takes {' and '.join(takes)}" if takes else f"{self.skill} takes nothing more"
                raise InputError(f"{name} is given as {value!r}, and {self.skill} does not take it", hint=allowed)
        if missing := lacks(self.skill, self.arguments()):
            raise InputError(f"{self.skill} needs a {missing}", hint=f"it is asked of every picture: {missing}=...")
        if isinstance(self.labels, str):
            object.__setattr__(self, "labels", (self.labels,))
        if self.schema is not None:
            object.__setattr__(self, "schema", as_schema(self.schema))
        self._region()
        self._words()

    def arguments(self) -> dict[str, Any]:
        """The arguments that were given, without skill and language."""
        names = ("text", "labels", "box", "schema", "detail", "tone")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def request(self, pictures: Sequence[Image.Image]) -> Request:
        """The request about one picture, as `VLM.ask`, `VLM.detect` ... make it; frames of one clip for watch."""
        words = self._words()
        seen = (VideoPart(tuple(pictures)),) if self.skill == "watch" else tuple(map(ImagePart, pictures))
        return Request(
            self.skill, (Message("user", (*seen, TextPart(words))),), words, labels=tuple(self.labels or ()),
            region=self._region(), schema=self.schema, detail=self.detail or "normal", language=self.language,
        )  # fmt: skip

    def _words(self) -> str:
        if self.skill != "caption":
            return self.text or ""
        return caption_instruction(
            self.text or "", detail=self.detail or "normal", tone=self.tone or "factual", language=self.language
        )

    def _region(self) -> Box | None:
        return None if self.box is None else _given.box(self.box)


def lacks(skill: str, arguments: Mapping[str, Any]) -> str:
    """The argument that a skill cannot do without and that is not given, "" where there is none."""
    name = TAKES[skill][0] if skill in NEEDS else ""
    return "" if arguments.get(name) not in (None, "") else name


def asked(vlm: Any, asking: Asking, options: Mapping[str, Any]) -> dict[str, Any]:
    """All that an answer depends on beside the picture, as plain data: what stands in every record.

    The skill with its arguments, those options of decoding that differ from their defaults, the weights, and the
    bounds of pixels where the family has them. Equal dicts get equal answers. Raises UnknownName for an option that
    there is not.
    """
    chosen = decoding_of(vlm, options)
    usual = type(chosen)()
    decoding = {
        field.name: getattr(chosen, field.name)
        for field in dataclasses.fields(chosen)
        if field.name not in WITHOUT_EFFECT and getattr(chosen, field.name) != getattr(usual, field.name)
    }
    loaded: Any = getattr(vlm, "loaded", None)
    weights = getattr(loaded, "model", None)
    whole = {"skill": asking.skill, **asking.arguments(), "language": asking.language, **decoding}
    if hasattr(weights, "state_dict"):
        whole |= {"family": loaded.family.name, "weights": fingerprint(weights)}
        if hasattr(loaded.family, "with_pixels"):
            whole["pixels"] = loaded.family.pixels
    else:
        whole["model"] = getattr(loaded, "checkpoint", None) or repr(vlm)
    plain: dict[str, Any] = json.loads(json.dumps(whole, default=repr))
    return plain


def decoding_of(vlm: Any, options: Mapping[str, Any]) -> Any:
    """The model's options with those that are given; None is the model's own. Raises UnknownName."""
    names = [field.name for field in dataclasses.fields(vlm.options)]
    for name in options:
        if name not in names:
            raise UnknownName("option", name, names)
    return dataclasses.replace(vlm.options, **{name: value for name, value in options.items() if value is not None})


def fingerprint(model: Any) -> str:
    """16 hex digits of all weights: names, shapes, and of each tensor the sum of its bits and a sample of them."""
    import torch

    digest = blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.is_meta or not tensor.numel():
            continue
        flat = tensor.detach().reshape(-1)
        bits = flat.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
        sample = bits[:: max(len(bits) // 256, 1)].cpu()
        digest.update(int(bits.sum(dtype=torch.int64)).to_bytes(8, "little", signed=True))
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()
