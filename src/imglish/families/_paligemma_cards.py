"""Facts of the published PaliGemma and PaliGemma 2 checkpoints."""

from __future__ import annotations

from imglish.families._card import Card, sizes
from imglish.families._paligemma_tasks import LANGUAGES

_SKILLS = frozenset({"ask", "caption", "detect", "ground", "segment"})
_ONE = (
    "arXiv:2407.07726; README.md of big_vision/configs/proj/paligemma; "
    "ai.google.dev/gemma/docs/paligemma/prompt-system-instructions; PaliGemmaConfig of transformers"
)
_TWO = "arXiv:2412.03555; ai.google.dev/gemma/docs/paligemma; the presets of keras-hub (parameters); Gemma2Config"
_ENCODER = {"vision_layers": 27, "vision_hidden": 1152, "vision_ffn": 4304, "patch_values": 588, "vocab": 257216}
_DECODERS = {
    "3b": {"layers": 18, "hidden": 2048, "heads": 8, "kv_heads": 1, "head_dim": 256, "ffn": 16384},
    "2-3b": {"layers": 26, "hidden": 2304, "heads": 8, "kv_heads": 4, "head_dim": 256, "ffn": 9216},
    "2-10b": {"layers": 42, "hidden": 3584, "heads": 16, "kv_heads": 8, "head_dim": 256, "ffn": 14336},
    "2-28b": {"layers": 46, "hidden": 4608, "heads": 32, "kv_heads": 16, "head_dim": 128, "ffn": 36864},
}
# Of the 224 pixel checkpoints, counted on the configurations; the encoder's positions come on top at 448 and 896.
_PARAMETERS = {"3b": 2_923_466_480, "2-3b": 3_032_242_416, "2-10b": 9_662_638_832, "2-28b": 27_650_487_024}
_POSITION = 1152  # parameters of one position
_KINDS = {
    "pt": "Pretrained, to be fine-tuned: it knows the syntax of tasks, and does not follow free questions.",
    "mix": "Fine-tuned on a mixture of tasks: ready to be asked.",
}


def _card(size: str, kind: str, resolution: int) -> Card:
    tokens = (resolution // 14) ** 2
    name = f"google/paligemma{size[:1] if size.startswith('2-') else ''}-{size.removeprefix('2-')}-{kind}-{resolution}"
    return Card(
        name=name, family="paligemma", parameters=_PARAMETERS[size] + (tokens - 256) * _POSITION, licence="gemma",
        commercial=True, languages=LANGUAGES, context=8192, resolution=f"{resolution}x{resolution}", skills=_SKILLS,
        source=_TWO if size.startswith("2-") else _ONE, year=2024 if not (size != "3b" and kind == "mix") else 2025,
        gated=True, note=_KINDS[kind], images=1, image_tokens=tokens, prompt="{image}<bos>answer en {question}\n",
        config=sizes(**_ENCODER, **_DECODERS[size], vision_tokens=tokens, tied=1),
    )  # fmt: skip


CARDS = (
    *(_card("3b", "pt", pixels) for pixels in (224, 448, 896)),
    *(_card("3b", "mix", pixels) for pixels in (224, 448)),
    *(_card(size, "pt", pixels) for size in ("2-3b", "2-10b", "2-28b") for pixels in (224, 448, 896)),
    *(_card(size, "mix", pixels) for size in ("2-3b", "2-10b", "2-28b") for pixels in (224, 448)),
)
