"""What is known about the published Phi-3-vision checkpoints."""

from __future__ import annotations

from imglish.core.types import Size
from imglish.families._card import Card, sizes
from imglish.families._phi3_v_view import HD

PITFALLS = (
    "A picture takes up to 2,653 tokens with 16 tiles, and up to 781 with 4: many pictures make a long prompt.",
    "Placeholders such as <|image_1|> are put for you; in your text they are plain text (see `numbered` in the guide).",
    "Beyond 4,096 tokens all positions are counted otherwise; an answer that crosses that reads its prompt again.",
    "No place in a picture was trained: what answers to `detect`, `ground` or `read` is prompted, and imprecise.",
    "Its text is encoded with the published tokenizer.json as it stands; the class that config names makes other ids.",
)

_SIZES = sizes(
    layers=32, hidden=3072, heads=32, ffn=8192, vocab=32064, vision_layers=24, vision_hidden=1024, vision_tokens=577
)
_SKILLS = frozenset({"ask", "caption", "chat", "count"})
_PROMPT = "<|user|>\n{image}\n{question}<|end|>\n<|assistant|>\n"
_REPORT = "arXiv:2404.14219"


def _views(size: Size) -> int:
    return HD().fit(size).tiles


CARDS = (
    Card(
        "microsoft/Phi-3-vision-128k-instruct", "phi3_v", 4_146_621_440, "mit", True, ("en",), 131_072,
        "up to 16 tiles of 336x336", _SKILLS,
        f"{_REPORT}; model card, config.json and model.safetensors.index.json of the repository", 2024,
        config=_SIZES, image_tokens=HD().tokens, views=_views, prompt=_PROMPT,
        pitfalls=("Trained on one picture a conversation; several are taken, and answered less surely.",),
    ),
    Card(
        "microsoft/Phi-3.5-vision-instruct", "phi3_v", 4_146_621_440, "mit", True, ("en",), 131_072,
        "up to 16 tiles of 336x336, 4 where there are several pictures", _SKILLS | {"watch"},
        f"{_REPORT}; model card on the hub; vllm tests/models/multimodal/processing/test_phi3v.py (4 tiles by default)",
        2024, config=_SIZES, image_tokens=HD().tokens, views=_views, prompt=_PROMPT,
        note="Trained on several pictures and on frames of a film, too.",
    ),
)  # fmt: skip
