"""What is known about the published checkpoints of Qwen2-VL, Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from imglish.core.frames import Resized
from imglish.core.types import Size
from imglish.families._card import Card, sizes

SKILLS = frozenset({"ask", "caption", "chat", "count", "detect", "extract", "ground", "identify", "read", "watch"})
PITFALLS = (
    "A picture has as many tokens as it has pixels: 12 megapixels are 16,000 tokens; lower max_pixels on a CPU.",
    "A picture cut off from its tokens fails in the model: never truncate a prompt.",
)
_LANGUAGES = ("en", "zh", "ja", "ko", "ar", "vi", "de", "fr", "es", "it", "pt", "ru", "pl")
_BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
_PROMPT = "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"


def picture_tokens(cell: int, least: int, most: int, size: Size) -> int:
    """Tokens of a picture: one for every `cell` x `cell` pixels of it, resized."""
    width, height = Resized(least, most, cell).fit(size).size
    return (width // cell) * (height // cell)


_FIRST: Callable[[Size], int] = partial(picture_tokens, 28, 3136, 12_845_056)
_THIRD: Callable[[Size], int] = partial(picture_tokens, 32, 65_536, 16_777_216)
# hidden, layers, heads, key/value heads, feed-forward, vocabulary, tied: config.json of each
_DECODERS = {
    "2-2B": (1536, 28, 12, 2, 8960, 151_936, 1),
    "2-7B": (3584, 28, 28, 4, 18_944, 152_064, 0),
    "2-72B": (8192, 80, 64, 8, 29_568, 152_064, 0),
    "2.5-3B": (2048, 36, 16, 2, 11_008, 151_936, 1),
    "2.5-7B": (3584, 28, 28, 4, 18_944, 152_064, 0),
    "2.5-32B": (5120, 64, 40, 8, 27_648, 152_064, 0),
    "2.5-72B": (8192, 80, 64, 8, 29_568, 152_064, 0),
    "3-2B": (2048, 28, 16, 8, 6144, 151_936, 1),
    "3-4B": (2560, 36, 32, 8, 9728, 151_936, 1),
    "3-8B": (4096, 36, 32, 8, 12_288, 151_936, 0),
    "3-32B": (5120, 64, 64, 8, 25_600, 151_936, 0),
}


def _card(
    name: str, parameters: int, decoder: str, *, licence: str = "apache-2.0", commercial: bool = True, note: str = ""
) -> Card:
    """`parameters` are those of the model built from these sizes, which is what the card of the hub rounds."""
    generation = decoder.split("-")[0]
    hidden, layers, heads, kv_heads, ffn, vocab, tied = _DECODERS[decoder]
    second, third = generation == "2.5", generation == "3"
    wide = decoder in ("3-8B", "3-32B")
    vision = (
        {"vision_layers": 27, "vision_hidden": 1152, "vision_ffn": 4304} if wide
        else {"vision_layers": 24, "vision_hidden": 1024, "vision_ffn": 4096} if third
        else {"vision_layers": 32, "vision_hidden": 1280, "vision_ffn": 3420 if second else 5120}
    )  # fmt: skip
    source = {
        "2": "arXiv:2409.12191; README of QwenLM/Qwen2-VL",
        "2.5": "arXiv:2502.13923; README of QwenLM/Qwen2.5-VL",
        "3": "arXiv:2511.21631; README of QwenLM/Qwen3-VL",
    }[generation]
    return Card(
        name=name, family={"2": "qwen2_vl", "2.5": "qwen2_5_vl", "3": "qwen3_vl"}[generation], parameters=parameters,
        licence=licence, commercial=commercial, languages=_LANGUAGES,
        context={"2": 32_768, "2.5": 128_000, "3": 262_144}[generation], resolution="any", skills=SKILLS,
        source=f"{source}; config.json and LICENSE on the hub", year={"2": 2024, "2.5": 2025, "3": 2025}[generation],
        note=note, image_tokens=_THIRD if third else _FIRST, views=_THIRD if third else _FIRST, images=64,
        prompt=_PROMPT if third else _BEFORE + _PROMPT,
        config=sizes(
            layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=128, ffn=ffn, vocab=vocab, tied=tied,
            vision_tokens=4, patch_values=1536 if third else 1176, **vision,
        ),
    )  # fmt: skip


_LARGE = "Its licence asks for permission above 100 million users a month."
QWEN2 = (
    _card("Qwen/Qwen2-VL-2B-Instruct", 2_208_985_600, "2-2B"),
    _card("Qwen/Qwen2-VL-7B-Instruct", 8_291_375_616, "2-7B"),
    _card("Qwen/Qwen2-VL-72B-Instruct", 73_405_560_320, "2-72B", licence="tongyi-qianwen", note=_LARGE),
)
QWEN2_5 = (
    _card(
        "Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976, "2.5-3B", licence="qwen-research", commercial=False,
        note="Its licence is for research only.",
    ),
    _card("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656, "2.5-7B"),
    _card("Qwen/Qwen2.5-VL-32B-Instruct", 33_452_718_336, "2.5-32B"),
    _card("Qwen/Qwen2.5-VL-72B-Instruct", 73_410_777_344, "2.5-72B", licence="qwen", note=_LARGE),
)  # fmt: skip
QWEN3 = (
    _card("Qwen/Qwen3-VL-2B-Instruct", 2_127_532_032, "3-2B"),
    _card("Qwen/Qwen3-VL-4B-Instruct", 4_437_815_808, "3-4B"),
    _card("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696, "3-8B"),
    _card("Qwen/Qwen3-VL-32B-Instruct", 33_357_390_064, "3-32B"),
    _card("Qwen/Qwen3-VL-8B-Thinking", 8_767_123_696, "3-8B", note="Thinks before it answers."),
)
