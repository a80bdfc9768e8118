"""Published systems that this version does not run: what is known of them, so that they can be compared.

Sizes are those of the config.json of the checkpoint on the hub, unless the source says otherwise; where a source gives
no number of parameters, they are counted from these sizes.
"""

from __future__ import annotations

import dataclasses
import math

from imglish.core.types import Size
from imglish.families._card import Card, sizes

_COGVLM = sizes(
    layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000, experts=2,
    vision_layers=63, vision_hidden=1792, vision_ffn=15360, vision_tokens=1226,
)  # fmt: skip
_COGVLM2 = sizes(
    layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=128256, experts=2,
    vision_layers=63, vision_hidden=1792, vision_ffn=15360, vision_tokens=9217,
)  # fmt: skip
_QWEN_VL = sizes(
    layers=32, hidden=4096, heads=32, ffn=11008, vocab=151936,
    vision_layers=48, vision_hidden=1664, vision_ffn=8192, vision_tokens=1024,
)  # fmt: skip
_COGVLM_NOTE = "Free for research; commercial use needs a free registration with its makers."
_QWEN_NOTE = "Commercial use is allowed, and has to be applied for."
_EUROPEAN = ("cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pl", "pt", "ru", "sv", "tr", "uk")
_PHI_LANGUAGES = tuple(sorted((*_EUROPEAN, "ar", "he", "ja", "ko", "th", "zh")))


def _phi4_tiles(size: Size) -> tuple[int, int]:
    """Columns and rows of 448-pixel tiles, 36 at most (transformers, image_processing_phi4_multimodal.py)."""
    columns, rows = math.ceil(size[0] / 448), math.ceil(size[1] / 448)
    shrink = min(1.0, math.sqrt(36 / (columns * rows)))  # above 36 the reference takes the nearest aspect ratio
    return max(1, int(columns * shrink)), max(1, int(rows * shrink))


def _phi4_tokens(size: Size) -> int:
    """256 of the whole and 256 of each tile, without padding; a token ends every row, and one stands between."""
    columns, rows = _phi4_tiles(size)
    scale = min(448 * columns / size[0], 448 * rows / size[1])
    padding = [(448 * n - int(side * scale)) // 14 for n, side in ((columns, size[0]), (rows, size[1]))]
    wide, high = (math.ceil((32 * n - p) / 2) for n, p in zip((columns, rows), padding, strict=True))
    return 256 + 1 + 16 + wide * high + high


_KNOWN: tuple[Card, ...] = (
    Card(
        "vikhyatk/moondream2", "moondream", 1_870_000_000, "apache-2.0", True, ("en",), 2048,
        "378x378, and up to 12 tiles of it", frozenset({"ask", "caption", "detect", "ground"}),
        "github.com/vikhyat/moondream; Phi-1.5: arXiv:2309.05463", 2024,
        note="Points and boxes come from a head of their own, not from text.",
        config=sizes(
            layers=24, hidden=2048, heads=32, ffn=8192, ffn_matrices=2, vocab=51200,
            vision_layers=27, vision_hidden=1152, vision_ffn=4304, vision_tokens=729,
        ),
        image_tokens=729, views=13,
        prompt="{image}\n\nQuestion: {question}\n\nAnswer:",
        pitfalls=(
            "There are two generations of weights with different tokenizers and layouts: name a revision.",
            "The prompt shown is that of the older generation; the newer one has tokens for each task.",
        ),
    ),
    Card(
        "THUDM/cogvlm-base-490-hf", "cogvlm", 17_640_000_000, "cogvlm", True, ("en",), 2048, "490x490",
        frozenset({"ask", "caption"}), "arXiv:2311.03079; github.com/THUDM/CogVLM", 2023, note=_COGVLM_NOTE,
        config=_COGVLM, image_tokens=1227, prompt="{image}{question}",
        pitfalls=("Not trained to chat: it goes on with the text it is given.",),
    ),
    Card(
        "THUDM/cogvlm-chat-hf", "cogvlm", 17_640_000_000, "cogvlm", True, ("en",), 2048, "490x490",
        frozenset({"ask", "caption", "chat"}),
        "arXiv:2311.03079; github.com/THUDM/CogVLM; huggingface.co/THUDM/cogvlm-chat-hf", 2023, note=_COGVLM_NOTE,
        config=_COGVLM, image_tokens=1227, prompt="{image}Question: {question} Answer:",
        pitfalls=("For boxes there is a checkpoint of its own: cogvlm-grounding-generalist-hf.",),
    ),
    Card(
        "THUDM/cogvlm-grounding-generalist-hf", "cogvlm", 17_640_000_000, "cogvlm", True, ("en",), 2048, "490x490",
        frozenset({"ask", "caption", "detect", "ground", "identify"}),
        "arXiv:2311.03079; github.com/THUDM/CogVLM", 2023, note=_COGVLM_NOTE, config=_COGVLM, image_tokens=1227,
        prompt="{image}{question}",
        pitfalls=("Boxes are [[x0,y0,x1,y1]] with three digits each, thousandths of the squashed picture.",),
    ),
    Card(
        "THUDM/cogvlm2-llama3-chat-19B", "cogvlm2", 19_500_000_000, "cogvlm2", True, ("en",), 8192, "1344x1344",
        frozenset({"ask", "caption", "chat", "read"}),
        "arXiv:2408.16500; huggingface.co/THUDM/cogvlm2-llama3-chat-19B", 2024, note=_COGVLM_NOTE,
        config=_COGVLM2, image_tokens=2306, prompt="{image}Question: {question} Answer:",
    ),
    Card(
        "Qwen/Qwen-VL", "qwen_vl", 9_600_000_000, "tongyi-qianwen", True, ("en", "zh"), 2048, "448x448",
        frozenset({"ask", "caption", "detect", "ground", "read"}), "arXiv:2308.12966", 2023, note=_QWEN_NOTE,
        config=_QWEN_VL, image_tokens=258, images=8,
        prompt="Picture 1: {image}\n{question}",
        pitfalls=(
            "Often listed with 4 billion parameters; the paper counts 9.6 billion.",
            "Its own code puts the picture's path into the prompt and opens whatever path the model reads back.",
        ),
    ),
    Card(
        "Qwen/Qwen-VL-Chat", "qwen_vl", 9_600_000_000, "tongyi-qianwen", True, ("en", "zh"), 2048, "448x448",
        frozenset({"ask", "caption", "chat", "detect", "ground", "read"}),
        "arXiv:2308.12966; huggingface.co/Qwen/Qwen-VL-Chat", 2023, note=_QWEN_NOTE,
        config=_QWEN_VL, image_tokens=258, images=8,
        prompt="<|im_start|>user\nPicture 1: {image}\n{question}<|im_end|>\n<|im_start|>assistant\n",
        pitfalls=(
            "Often listed with 4 billion parameters; the paper counts 9.6 billion.",
            "Boxes are <ref>x</ref><box>(x1,y1),(x2,y2)</box>, thousandths of the original picture.",
        ),
    ),
    Card(
        "01-ai/Yi-VL-6B", "yi_vl", 6_710_000_000, "apache-2.0", True, ("en", "zh"), 4096, "448x448",
        frozenset({"ask", "caption", "chat"}), "arXiv:2403.04652; huggingface.co/01-ai/Yi-VL-6B", 2024,
        config=sizes(
            layers=32, hidden=4096, heads=32, kv_heads=4, ffn=11008, vocab=64000,
            vision_layers=32, vision_hidden=1280, vision_tokens=1025, vision_kept=32,
        ),
        image_tokens=1024, prompt="### Human: {image}\n{question}\n### Assistant:",
        pitfalls=("A LLaVA with two layer norms in its adapter; one picture a conversation.",),
    ),
    Card(
        "01-ai/Yi-VL-34B", "yi_vl", 35_080_000_000, "apache-2.0", True, ("en", "zh"), 4096, "448x448",
        frozenset({"ask", "caption", "chat"}), "arXiv:2403.04652; huggingface.co/01-ai/Yi-VL-34B", 2024,
        config=sizes(
            layers=60, hidden=7168, heads=56, kv_heads=8, ffn=20480, vocab=64000,
            vision_layers=32, vision_hidden=1280, vision_tokens=1025, vision_kept=32,
        ),
        image_tokens=1024, prompt="### Human: {image}\n{question}\n### Assistant:",
        pitfalls=("A LLaVA with two layer norms in its adapter; one picture a conversation.",),
    ),
    Card(
        "microsoft/Phi-3.5-mini-instruct", "phi3", 3_820_000_000, "mit", True, _PHI_LANGUAGES, 131_072, "none",
        frozenset(), "arXiv:2404.14219; huggingface.co/microsoft/Phi-3.5-mini-instruct", 2024,
        note="Reads text only; the one that sees is Phi-3.5-vision-instruct.",
        config=sizes(layers=32, hidden=3072, heads=32, ffn=8192, vocab=32064), images=0,
        prompt="<|user|>\n{question}<|end|>\n<|assistant|>\n",
    ),
    Card(
        "microsoft/Phi-3.5-MoE-instruct", "phimoe", 41_900_000_000, "mit", True, _PHI_LANGUAGES, 131_072, "none",
        frozenset(), "arXiv:2404.14219; huggingface.co/microsoft/Phi-3.5-MoE-instruct", 2024,
        note="Reads text only; 6.6 billion parameters work at a time, and all have to be in memory.",
        config=sizes(layers=32, hidden=4096, heads=32, kv_heads=8, ffn=6400, vocab=32064, experts=16), images=0,
        prompt="<|user|>\n{question}<|end|>\n<|assistant|>\n",
    ),
    Card(
        "microsoft/Phi-4-multimodal-instruct", "phi4_multimodal", 5_570_000_000, "mit", True, ("en",), 131_072,
        "tiles of 448x448", frozenset({"ask", "caption", "chat", "read", "watch"}),
        "arXiv:2503.01743; huggingface.co/microsoft/Phi-4-multimodal-instruct", 2025,
        note="Hears, too. Text may be in 22 languages, questions about pictures in English.",
        config=sizes(
            layers=32, hidden=3072, heads=24, kv_heads=8, ffn=8192, vocab=200_064, tied=1,
            vision_layers=27, vision_hidden=1152, vision_ffn=4304, vision_tokens=1024,
        ),
        image_tokens=_phi4_tokens, views=lambda size: 1 + math.prod(_phi4_tiles(size)), images=64,
        prompt="<|user|>{image}{question}<|end|><|assistant|>",
    ),
)  # fmt: skip

CARDS = tuple(dataclasses.replace(card, runs=False) for card in _KNOWN)
