"""What DeepSeek-VL's two sizes share: how a picture is fitted, how a conversation is written, what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imglish.core.frames import Fitted
from imglish.core.types import ImagePart, Message, Size, TextPart, VideoPart
from imglish.families._base import Control, Picture, Piece, Plain
from imglish.families._card import Card, sizes

SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
END = "<｜end▁of▁sentence｜>"


@dataclass(frozen=True)
class Centred:
    """The longer side becomes `side`, the shorter one at least `least`; the rest of the square is padding."""

    side: int = 384
    least: int = 14

    def fit(self, size: Size) -> Fitted:
        """The arithmetic of transformers' DeepseekVLImageProcessor."""
        ratio = self.side / max(size)
        width, height = (max(round(edge * ratio), self.least) for edge in size)
        pad = ((self.side - width) // 2, (self.side - height) // 2)
        return Fitted(size, (self.side, self.side), width / size[0], height / size[1], *pad)


def turns(messages: Sequence[tuple[str, list[Piece]]]) -> list[Piece]:
    """`SYSTEM User: <image_placeholder>... Assistant:`, two newlines between (deepseek_vl/utils/conversation.py)."""
    system = [piece for role, content in messages if role == "system" for piece in content]
    pieces: list[Piece] = [*(system or [Control(SYSTEM)]), Control("\n\n")]
    for role, content in messages:
        if role == "user":
            pieces += [Control("User: "), *content, Control("\n\n")]
        elif role == "assistant":
            pieces += [Control("Assistant: "), *content, Control(END)]
    return [*pieces, Control("Assistant:")]


def content(message: Message, text: str, numbers: Iterator[int]) -> list[Piece]:
    """Pictures and text of a turn in their order, nothing between them; an instruction stands after all pictures."""
    pieces: list[Piece] = []
    own = text == message.text
    for place, part in enumerate(message.parts):
        if isinstance(part, (ImagePart, VideoPart)):
            count = len(part.frames) if isinstance(part, VideoPart) else 1
            pieces += [Picture(next(numbers)) for _ in range(count)]
        elif own:
            follows = place > 0 and isinstance(message.parts[place - 1], TextPart)
            pieces += [Control("\n"), Plain(part.text)] if follows else [Plain(part.text)]
    return pieces if own else [*pieces, Plain(text)]


PITFALLS = (
    "Trained on prompts of up to 4,096 tokens, of which a picture takes 576: six pictures leave little room.",
    "Load the repositories of deepseek-community; those of deepseek-ai hold another layout, with code of their own.",
    "The word embeddings and the output layer are two weights; transformers takes them for one where config is silent.",
    "No place in a picture was trained: what answers to `detect`, `ground` or `read` is prompted, and imprecise.",
)
_SKILLS = frozenset({"ask", "caption", "chat", "count"})
_SOURCE = "arXiv:2403.05525; github.com/deepseek-ai/DeepSeek-VL (README, LICENSE-MODEL); config.json on the hub"
_PROMPT = SYSTEM + "\n\nUser: {image}{question}\n\nAssistant:"
_NOTE = "Its licence allows commercial use and forbids some uses by name."
_SMALL = sizes(
    layers=24, hidden=2048, heads=16, ffn=5632, vocab=102400, vision_layers=24, vision_hidden=1024, vision_tokens=576
)
_LARGE = sizes(  # of the two encoders, SAM-B holds more at once: 4,096 patches of 1,024 pixels
    layers=30, hidden=4096, heads=32, ffn=11008, vocab=102400,
    vision_layers=12, vision_hidden=768, vision_tokens=4096, vision_kept=12, patch_values=768,
)  # fmt: skip


def _card(name: str, parameters: int, resolution: str, config: dict[str, int]) -> Card:
    return Card(
        name, "deepseek_vl", parameters, "deepseek", True, ("en", "zh"), 4096, resolution, _SKILLS, _SOURCE, 2024,
        note=_NOTE, config=sizes(**config), image_tokens=576, prompt=_PROMPT,
    )  # fmt: skip


CARDS = (
    _card("deepseek-community/deepseek-vl-1.3b-chat", 1_962_640_384, "384x384", dict(_SMALL)),
    _card("deepseek-community/deepseek-vl-7b-chat", 7_331_390_721, "384x384 and 1024x1024", dict(_LARGE)),
    dataclasses.replace(
        _card("deepseek-community/deepseek-vl-7b-base", 7_331_390_721, "384x384 and 1024x1024", dict(_LARGE)),
        skills=frozenset({"ask", "caption"}), pitfalls=("Not trained to chat: it goes on with the text it is given.",),
    ),
)  # fmt: skip
