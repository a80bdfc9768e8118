"""Facts of the published Florence-2 checkpoints."""

from __future__ import annotations

from types import MappingProxyType

from imglish.families._card import Card

_SKILLS = frozenset({"caption", "detect", "ground", "identify", "read", "segment"})
_SOURCE = "arXiv:2311.06242; README.md and config.json of microsoft/Florence-2-large"
_BASE = MappingProxyType(
    {
        "layers": 6, "encoder_layers": 6, "hidden": 768, "heads": 12, "ffn": 3072, "ffn_matrices": 2, "vocab": 51289,
        "tied": 1, "beams": 3, "vision_layers": 24, "vision_hidden": 128, "vision_ffn": 512, "vision_tokens": 36864,
        "patch_values": 48,
    }
)  # fmt: skip
_LARGE = MappingProxyType(
    {
        **_BASE, "layers": 12, "encoder_layers": 12, "hidden": 1024, "heads": 16, "ffn": 4096, "vision_hidden": 256,
        "vision_ffn": 1024,
    }
)  # fmt: skip


def _card(name: str, *, large: bool, context: int, note: str) -> Card:
    return Card(
        name=name, family="florence2", parameters=LARGE_PARAMETERS if large else BASE_PARAMETERS, licence="mit",
        commercial=True, languages=("en",), context=context, resolution="768x768", skills=_SKILLS, source=_SOURCE,
        year=2024, note=note, config=_LARGE if large else _BASE, image_tokens=577,
        prompt="{image}<s>Locate the objects with category name in the image.</s>",
    )  # fmt: skip


BASE_PARAMETERS, LARGE_PARAMETERS = 231_000_000, 770_000_000
_TUNED = "Fine-tuned on a collection of downstream tasks"
_NATIVE = "the same weights as of microsoft/, in transformers' layout"
CARDS = (
    _card("microsoft/Florence-2-base", large=False, context=1024, note="Pretrained on FLD-5B; original layout."),
    _card("microsoft/Florence-2-base-ft", large=False, context=1024, note=f"{_TUNED}; original layout."),
    _card(
        "microsoft/Florence-2-large", large=True, context=4096,
        note="Later weights of this name were trained on to 4096 tokens and end lines of text read with a newline.",
    ),
    _card("microsoft/Florence-2-large-ft", large=True, context=1024, note=f"{_TUNED}; original layout."),
    _card("florence-community/Florence-2-base", large=False, context=1024, note=f"Pretrained; {_NATIVE}."),
    _card("florence-community/Florence-2-base-ft", large=False, context=1024, note=f"{_TUNED}; {_NATIVE}."),
    _card("florence-community/Florence-2-large", large=True, context=4096, note=f"Pretrained; {_NATIVE}."),
    _card("florence-community/Florence-2-large-ft", large=True, context=1024, note=f"{_TUNED}; {_NATIVE}."),
)  # fmt: skip
