"""What is known about the published checkpoints of Idefics3, SmolVLM and SmolVLM2."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from imglish.core.types import Size
from imglish.families._card import Card, sizes

SKILLS = frozenset({"ask", "caption", "chat", "count"})
_FILM = SKILLS | {"watch"}


def picture_views(longest: int, tile: int, size: Size) -> int:
    """How many tiles a picture is cut into, and the whole."""
    from imglish.families._idefics_family import grid_of

    rows, columns = grid_of(size, longest=longest, tile=tile)
    return rows * columns + 1


def picture_tokens(longest: int, tile: int, each: int, size: Size) -> int:
    """Tokens of a picture: of each tile, of the names around it, of a newline a row."""
    from imglish.families._idefics_family import grid_of

    rows, columns = grid_of(size, longest=longest, tile=tile)
    return each + 3 + rows * (columns * (each + 2) + 1)


# hidden, layers, heads, key/value heads, feed-forward of the decoder; layers, hidden, feed-forward of the encoder;
# tile, patch, tokens a tile, longest side, context: config.json and preprocessor_config.json of each
_SIZES = {
    "256M": (576, 30, 9, 3, 1536, 12, 768, 3072, 512, 16, 64, 2048, 8192),
    "500M": (960, 32, 15, 5, 2560, 12, 768, 3072, 512, 16, 64, 2048, 8192),
    "2.2B": (2048, 24, 32, 32, 8192, 27, 1152, 4304, 384, 14, 81, 1536, 16_384),
    "8B": (4096, 32, 32, 8, 14_336, 27, 1152, 4304, 364, 14, 169, 1456, 131_072),
}
_VOCAB = {"256M": 49_280, "500M": 49_280, "2.2B": 49_280, "8B": 128_259}
_PARAMETERS = {"256M": 256_484_928, "500M": 507_482_304, "2.2B": 2_246_784_880, "8B": 8_462_086_384}


def _card(name: str, kind: str, *, family: str, year: int, skills: frozenset[str] = SKILLS, note: str = "") -> Card:
    """Parameters are those of the model built from these sizes, which is what the card of the hub rounds."""
    hidden, layers, heads, kv_heads, ffn, depth, wide, deep, tile, patch, each, longest, context = _SIZES[kind]
    views: Callable[[Size], int] = partial(picture_views, longest, tile)
    tokens: Callable[[Size], int] = partial(picture_tokens, longest, tile, each)
    start = "<|begin_of_text|>" if kind == "8B" else "<|im_start|>"
    source = "arXiv:2408.12637" if kind == "8B" else "arXiv:2504.05299"
    return Card(
        name=name, family=family, parameters=_PARAMETERS[kind], licence="apache-2.0", commercial=True,
        languages=("en",), context=context, resolution=f"up to {longest}x{longest}", skills=skills,
        source=f"{source}; model card and config.json on the hub", year=year, note=note, image_tokens=tokens,
        views=views, images=16, prompt=start + "User:{image}{question}<end_of_utterance>\nAssistant:",
        config=sizes(
            layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, ffn=ffn, vocab=_VOCAB[kind],
            vision_layers=depth, vision_hidden=wide, vision_ffn=deep, vision_tokens=(tile // patch) ** 2,
            patch_values=3 * patch * patch,
        ),
    )  # fmt: skip


_FIRST = "SmolVLM of 2024 is an Idefics3 by its config.json."
IDEFICS3 = (
    _card(
        "HuggingFaceM4/Idefics3-8B-Llama3", "8B", family="idefics3", year=2024,
        note="Made from Llama 3.1 and SigLIP; the licence of Llama 3.1 holds for the decoder.",
    ),
    _card("HuggingFaceTB/SmolVLM-256M-Instruct", "256M", family="idefics3", year=2025, note=_FIRST),
    _card("HuggingFaceTB/SmolVLM-500M-Instruct", "500M", family="idefics3", year=2025, note=_FIRST),
    _card("HuggingFaceTB/SmolVLM-Instruct", "2.2B", family="idefics3", year=2024, note=_FIRST),
)  # fmt: skip
SMOLVLM = (
    _card("HuggingFaceTB/SmolVLM2-256M-Video-Instruct", "256M", family="smolvlm", year=2025, skills=_FILM),
    _card("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "500M", family="smolvlm", year=2025, skills=_FILM),
    _card("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "2.2B", family="smolvlm", year=2025, skills=_FILM),
)
