"""What LLaVA 1.5 and LLaVA-NeXT share: chat templates, and the small models that stand in for their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imglish.families._base import Control, Picture, Piece

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
