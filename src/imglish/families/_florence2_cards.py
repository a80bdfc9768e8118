"""Facts of the published Florence-2 checkpoints."""

from __future__ import annotations

from imglish.families._card import Card, sizes

_SKILLS = frozenset({"caption", "detect", "ground", "identify", "read", "segment"})
_SOURCE = "arXiv:2311.06242; README.md and config.json of microsoft/Florence-2-large"
_BASE = {
    "layers": 6, "encoder_layers": 6, "hidden": 768, "heads": 12, "ffn": 3072, "ffn_matrices": 2, "vocab": 51289,
    "tied": 1, "beams": 3, "vision_layers": 24, "vision_hidden": 128, "vision_ffn": 512, "vision_tokens": 36864,
    "patch_values": 48,
}  # fmt: skip
_LARGE = _BASE | {
    "layers": 12, "encoder_layers": 12, "hidden": 1024, "heads": 16, "ffn": 4096, "vision_hidden": 256,
    "vision_ffn": 1024,
}  # fmt: skip
"""Of the encoder, the first of its four stages: it has the most tokens, and memory is at its worst there."""

# Counted on the configurations without weights: the base's, and the large's with 1024 and with 4096 positions.
BASE, LARGE, LARGE_4K = 231_414_784, 770_174_976, 776_466_432


def _card(name: str, parameters: int, note: str) -> Card:
    return Card(
        name=name, family="florence2", parameters=parameters, licence="mit", commercial=True, languages=("en",),
        context=4096 if parameters == LARGE_4K else 1024, resolution="768x768", skills=_SKILLS, source=_SOURCE,
        year=2024, note=note, config=sizes(**(_BASE if parameters == BASE else _LARGE)), image_tokens=577,
        prompt="{image}<s>{question}</s>",
    )  # fmt: skip


_PRE, _TUNED = "Pretrained on FLD-5B", "Fine-tuned on a collection of downstream tasks"
_OLD, _NEW = (
    "in the original layout, which is translated on loading.",
    "the weights of microsoft/ in transformers' layout.",
)
CARDS = (
    _card("microsoft/Florence-2-base", BASE, f"{_PRE}; {_OLD}"),
    _card("microsoft/Florence-2-base-ft", BASE, f"{_TUNED}; {_OLD}"),
    _card("microsoft/Florence-2-large", LARGE_4K, f"{_PRE}, then trained on to 4096 tokens; {_OLD}"),
    _card("microsoft/Florence-2-large-ft", LARGE, f"{_TUNED}; {_OLD}"),
    _card("florence-community/Florence-2-base", BASE, f"{_PRE}; {_NEW}"),
    _card("florence-community/Florence-2-base-ft", BASE, f"{_TUNED}; {_NEW}"),
    _card("florence-community/Florence-2-large", LARGE_4K, f"{_PRE}; {_NEW}"),
    _card("florence-community/Florence-2-large-ft", LARGE, f"{_TUNED}; {_NEW}"),
)
