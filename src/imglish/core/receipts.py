"""What a call really did: what the model saw, what was wrong, and how sure it was of each token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from imglish.core.types import Size

PARSE, TRUNCATED, RANGE, OUT_OF_WORLD = "parse", "truncated", "range", "out_of_world"


@dataclass(frozen=True)
class ImageReceipt:
    """What the model saw of one image. A point of the original is at `point * scale + pad` in the model's frame."""

    original_size: Size
    model_size: Size
    scale: tuple[float, float] = (1.0, 1.0)
    pad: tuple[float, float] = (0.0, 0.0)
    tiles: int = 1
    image_tokens: int = 0
    content_hash: str = ""
    frame: int | None = None


@dataclass(frozen=True)
class Receipt:
    """What a call really did. `prompted` says that a checkpoint without the skill was asked for it in words.

    `cache_hits` are the images that were not encoded again, `prefix_tokens` the tokens of the prompt that were not read
    again: their keys and values were known.

    `remote` is the address of the server that answered, empty where the model ran in this process. A server does not
    tell everything: `unknown` names the fields, here and in `images`, that hold no fact for that reason.
    """

    family: str = ""
    checkpoint: str = ""
    images: tuple[ImageReceipt, ...] = ()
    prompt_tokens: int = 0
    generated_tokens: int = 0
    truncated: bool = False
    cache_hits: int = 0
    prompted: bool = False
    remote: str = ""
    unknown: tuple[str, ...] = ()
    prefix_tokens: int = 0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The receipt that a result's `to_json` wrote."""
        tuples = ("original_size", "model_size", "scale", "pad")
        images = []
        for image in value.get("images", ()):
            fields: dict[str, Any] = {name: tuple(item) if name in tuples else item for name, item in image.items()}
            images.append(ImageReceipt(**fields))
        return cls(**{**value, "images": tuple(images), "unknown": tuple(value.get("unknown", ()))})


@dataclass(frozen=True)
class Problem:
    """One thing that was wrong; `text` is the piece of the model's output that it is about.

    Kinds are "parse" (could not be read), "truncated", "range" (a value outside the image or the grammar) and
    "out_of_world" (a picture or question unlike what the checkpoint was trained on); a family may add its own.
    """

    kind: str
    message: str
    text: str = ""


@dataclass(frozen=True)
class Token:
    """One token of an answer: the text it adds to `raw`, the model's own log-probability of it in nats, its id.

    The texts of an answer's tokens make up its `raw`: a letter that takes several tokens is the last one's. `top` are
    the most probable tokens at that place, that one among them or not, the most probable first. The probability is
    among all tokens, also where a form allowed some only, and before temperature. A server tells no `id`: it is None.
    """

    text: str
    logprob: float
    id: int | None = None
    top: tuple[Token, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The token that a result's `to_json` wrote."""
        return cls(**{**value, "top": tuple(Token.from_json(one) for one in value.get("top", ()))})
