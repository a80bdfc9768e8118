"""What LLaVA 1.5 and LLaVA-NeXT share: chat templates, and the small models that stand in for their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imglish.core.types import Size
from imglish.families._base import Control, Picture, Piece
from imglish.families._card import Card, sizes

GRIDS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))  # (height, width), as published
Turns = Sequence[tuple[str, list[Piece]]]
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
PITFALLS = (
    "Boxes are shares of the picture padded to a square; what answers to `detect` is prompted, not trained in tokens.",
    "The system sentence is the reference's vicuna_v1; its command line uses one that differs in a word.",
    "Benchmarks that want one word add: Answer the question using a single word or phrase.",
)


def vicuna(turns: Turns) -> list[Piece]:
    """`SYSTEM USER: <image>\\n... ASSISTANT:`, a finished answer ends with </s> (LLaVA, conversation.py, vicuna_v1)."""
    system, rest = _split(turns)
    pieces: list[Piece] = [*(system or [Control(SYSTEM)]), Control(" ")]
    for role, content in rest:
        if role == "user":
            pieces += [Control("USER: "), *_images_on_a_line(content), Control(" ")]
        else:
            pieces += [Control("ASSISTANT: "), *content, Control("</s>")]
    return [*pieces, Control("ASSISTANT:")]


def mistral(turns: Turns) -> list[Piece]:
    """`[INST] <image>\\n... [/INST]`; there is no system turn, so a system text opens the first question."""
    system, rest = _split(turns)
    pieces: list[Piece] = []
    for role, content in rest:
        if role == "user":
            opening: list[Piece] = [*system, Control("\n")] if system else []
            pieces += [Control("[INST] "), *opening, *_images_on_a_line(content), Control(" [/INST]")]
            system = []
        else:
            pieces += [Control(" "), *content, Control("</s>")]
    return pieces


def chatml(turns: Turns) -> list[Piece]:
    """`<|im_start|>role\\n...<|im_end|>` (the 34B checkpoint)."""
    system, rest = _split(turns)
    pieces: list[Piece] = [Control("<|im_start|>system\n"), *(system or [Control("Answer the questions.")])]
    for role, content in rest:
        start = "" if role == "user" else "\n"
        body = _images_on_a_line(content) if role == "user" else content
        pieces += [Control(f"<|im_end|>{start}<|im_start|>{role}\n"), *body]
    return [*pieces, Control("<|im_end|><|im_start|>assistant\n")]


TEMPLATES = {"vicuna": vicuna, "mistral": mistral, "chatml": chatml}


def _split(turns: Turns) -> tuple[list[Piece], Turns]:
    system = [piece for role, content in turns if role == "system" for piece in content]
    return system, [turn for turn in turns if turn[0] != "system"]


def _images_on_a_line(content: list[Piece]) -> list[Piece]:
    pieces: list[Piece] = []
    for piece in content:
        pieces += [piece, Control("\n")] if isinstance(piece, Picture) else [piece]
    return pieces


def best_grid(size: Size, grids: Sequence[Sequence[int]]) -> tuple[int, int]:
    """(height, width) of the grid that keeps most of the picture's pixels, then wastes least (LLaVA, mm_utils.py)."""
    width, height = size

    def worth(grid: Sequence[int]) -> tuple[int, int]:
        scale = min(grid[1] / width, grid[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - grid[0] * grid[1]

    best = max(grids, key=worth)
    return int(best[0]), int(best[1])


def tile_tokens(size: Size, grids: Sequence[Sequence[int]] = GRIDS, *, tile: int = 336, patch: int = 14) -> int:
    """Tokens of the whole view and of the tiles without their padding, a newline after each row of the tiles."""
    width, height = size
    side = tile // patch
    high, wide = (side * (edge // tile) for edge in best_grid(size, grids))
    if width / height > wide / high:
        high -= (high - int(round(height * (wide / width), 7))) // 2 * 2
    else:
        wide -= (wide - int(round(width * (high / height), 7))) // 2 * 2
    return side * side + high * wide + high


def tile_count(size: Size) -> int:
    """Views that go through the encoder: the tiles and the whole."""
    high, wide = best_grid(size, GRIDS)
    return high * wide // 336**2 + 1


_SKILLS = frozenset({"ask", "caption", "chat"})
_CLIP = {"vision_layers": 24, "vision_hidden": 1024, "vision_tokens": 577}
_VICUNA = sizes(layers=32, hidden=4096, heads=32, ffn=11008, vocab=32064, **_CLIP)
_VICUNA_13B = sizes(layers=40, hidden=5120, heads=40, ffn=13824, vocab=32064, **_CLIP)
_MISTRAL = sizes(layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=32064, **_CLIP)
_YI = sizes(layers=60, hidden=7168, heads=56, kv_heads=8, ffn=20480, vocab=64064, **_CLIP)
_PROMPT = SYSTEM + " USER: {image}\n{question} ASSISTANT:"
_SOURCE = "arXiv:2310.03744; config.json of llava-hf on the hub"
_NEXT_SOURCE = "llava-vl.github.io/blog/2024-01-30-llava-next; config.json of llava-hf on the hub"
CARDS = (
    Card(
        "llava-hf/llava-1.5-7b-hf", "llava", 7_063_427_072, "llama2", True, ("en",), 4096, "336x336", _SKILLS, _SOURCE,
        2023, config=_VICUNA, image_tokens=576, prompt=_PROMPT,
    ),
    Card(
        "llava-hf/llava-1.5-13b-hf", "llava", 13_351_494_656, "llama2", True, ("en",), 4096, "336x336", _SKILLS,
        _SOURCE, 2023, config=_VICUNA_13B, image_tokens=576, prompt=_PROMPT,
    ),
)  # fmt: skip
NEXT_CARDS = (
    Card(
        "llava-hf/llava-v1.6-mistral-7b-hf", "llava_next", 7_566_747_648, "apache-2.0", True, ("en",), 32768,
        "up to 672x672", _SKILLS, _NEXT_SOURCE, 2024, config=_MISTRAL, image_tokens=tile_tokens, views=tile_count,
        images=8, prompt="[INST] {image}\n{question} [/INST]",
    ),
    Card(
        "llava-hf/llava-v1.6-vicuna-7b-hf", "llava_next", 7_063_431_168, "llama2", True, ("en",), 4096,
        "up to 672x672", _SKILLS, _NEXT_SOURCE, 2024, config=_VICUNA, image_tokens=tile_tokens, views=tile_count,
        images=8, prompt=_PROMPT,
    ),
    Card(
        "llava-hf/llava-v1.6-34b-hf", "llava_next", 34_750_000_000, "apache-2.0", True, ("en",), 4096,
        "up to 672x672", _SKILLS, _NEXT_SOURCE, 2024, config=_YI, image_tokens=tile_tokens, views=tile_count,
        images=8,
        prompt="<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{image}\n{question}<|im_end|>"
        "<|im_start|>assistant\n",
    ),
)  # fmt: skip


def tiny_parts() -> dict[str, Any]:
    """The configurations of a small CLIP and a small Llama, and a tokenizer with the image token."""
    from transformers import CLIPVisionConfig, LlamaConfig

    from imglish.families._tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer(
        ("<s>", "</s>", "<unk>", "<image>", "<pad>"), bos="<s>", eos="</s>", pad="<pad>", frame=(("<s>",), ())
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=56, patch_size=14,
        initializer_range=0.3,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    image = {"image_token_index": tokenizer.convert_tokens_to_ids("<image>"), "image_seq_length": 16}
    return {"tokenizer": tokenizer, "vision": vision, "text": text, "image": image}
