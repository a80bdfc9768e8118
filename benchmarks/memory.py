"""How much memory a model needs for one picture: measured on random models of several sizes, against the formula.

Each model is built in a process of its own and answers one question about one picture with transformers' `generate`;
measured is how far the resident memory of that process rises. `value` is what was measured and `against` what the
formula of `imglish models` says, in megabytes; `ratio` is formula / measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _table import Report, parser, row

from imglish.families._card import Card, sizes
from imglish.families._memory import Precision, memory

PROMPT, ANSWER, SIDE = 64, 16, 336  # tokens of the question and of the answer; pixels of LLaVA's picture
Sizes = dict[str, int]

LLAVA, QWEN, FLORENCE = "llava", "qwen2_vl", "florence2"
SMALL = {"hidden": 256, "ffn": 704, "layers": 4, "kv_heads": 4, "vocab": 8000, "vision_hidden": 256, "vision_layers": 4}
MIDDLE = {"hidden": 640, "ffn": 1728, "layers": 12, "kv_heads": 10, "vocab": 16000} | {
    "vision_hidden": 512, "vision_layers": 8,
}  # fmt: skip
LARGE = {"hidden": 1024, "ffn": 2816, "layers": 20, "kv_heads": 16, "vocab": 32000} | {
    "vision_hidden": 1024, "vision_layers": 12,
}  # fmt: skip
NATIVE = {"grid_high": 54, "grid_wide": 78}  # patches of a picture of 1080 x 756 in its own resolution
MODELS: tuple[tuple[str, Precision, Sizes], ...] = (
    (LLAVA, "bf16", SMALL),
    (QWEN, "bf16", SMALL | {"kv_heads": 2, "tied": 1} | NATIVE),
    (FLORENCE, "bf16", {"hidden": 384, "layers": 3, "vocab": 51328, "width": 64}),
    (LLAVA, "bf16", MIDDLE),
    (QWEN, "bf16", MIDDLE | {"kv_heads": 2, "tied": 1} | NATIVE),
    (FLORENCE, "bf16", {"hidden": 768, "layers": 6, "vocab": 51328, "width": 128}),  # the sizes of Florence-2-base
    (LLAVA, "bf16", LARGE),
    (LLAVA, "int8", LARGE),
    (LLAVA, "int4", LARGE),
    (LLAVA, "fp32", MIDDLE),
    (QWEN, "bf16", LARGE | {"kv_heads": 4, "tied": 1} | NATIVE),
)

NAMES = [f"memory/{kind}/{precision}/{numbers['hidden']}x{numbers['layers']}" for kind, precision, numbers in MODELS]


def main() -> None:
    """Measure each model in its own process and set the formula beside it."""
    options = parser(__doc__ or "")
    options.add_argument("--samples", type=int, default=len(MODELS), help="how many models, the smallest first")
    options.add_argument("--measure", type=int, metavar="N", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure is not None:
        print(measure(*MODELS[given.measure]))
        return
    report = Report(given, {"prompt": PROMPT, "answer": ANSWER})
    for index, name in enumerate(NAMES[: given.samples]):
        if report.has(name):
            continue
        measured, expected = alone(index), formula(name)
        report.add(row(name, measured / 1e6, against=expected / 1e6, ratio=expected / measured, unit="MB"))
    report.show()


def formula(name: str) -> int:
    """What the formula says of the model of a row, in bytes."""
    kind, precision, numbers = MODELS[NAMES.index(name)]
    parameters = sum(weight.numel() for weight in skeleton(kind, numbers).parameters())
    return memory(card_of(kind, numbers, parameters=parameters), precision, prompt=PROMPT, answer=ANSWER).total


def alone(index: int) -> int:
    """What a fresh process measures. Freed memory goes back at once, so that what is resident is what is in use."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = kept | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, __file__, "--measure", str(index)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.splitlines()[-1])


def card_of(kind: str, numbers: Sizes, *, parameters: int) -> Card:
    """The card that a checkpoint of these sizes would have."""
    config: Sizes = {name: numbers[name] for name in numbers if name not in ("grid_high", "grid_wide", "width")}
    config["heads"] = numbers["hidden"] // 64
    tokens, views = 577, 1
    if kind == LLAVA:
        tokens = (SIDE // 14) ** 2
        config |= {"vision_tokens": tokens + 1, "vision_kept": numbers["vision_layers"]}
    elif kind == QWEN:
        tokens = views = numbers["grid_high"] * numbers["grid_wide"] // 4
        config |= {"vision_tokens": 4, "patch_values": 1176}
    else:
        config |= {
            "ffn": 4 * numbers["hidden"], "ffn_matrices": 2, "encoder_layers": numbers["layers"], "tied": 1, "beams": 3,
            "vision_layers": 12, "vision_hidden": numbers["width"], "vision_tokens": 192 * 192, "patch_values": 48,
        }  # fmt: skip
    return Card(
        kind, kind, parameters, "", True, (), 4096, "", frozenset(), "", 0,
        config=sizes(**config), image_tokens=tokens, views=views,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------- inside the measuring process


def measure(kind: str, precision: Precision, numbers: Sizes) -> int:
    """By how much the resident memory is higher than without the model, at most, while it answers."""
    import torch

    torch.set_num_threads(1)
    kept = torch.float32 if precision == "fp32" else torch.bfloat16
    least = numbers | {"hidden": 64, "ffn": 64, "layers": 1, "kv_heads": 1, "vision_hidden": 64, "vision_layers": 2}
    answer(build(kind, least | {"width": 32}, kept), kind, least, kept)  # what a first call loads is not the model's
    before = resident("VmRSS")
    model = build(kind, numbers, kept)
    if precision in ("int8", "int4"):
        pack(model, 8 if precision == "int8" else 4)
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
    answer(model, kind, numbers, kept)
    return resident("VmHWM") - before


def resident(name: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def skeleton(kind: str, numbers: Sizes) -> Any:
    """A model of these sizes without weights."""
    import torch
    import transformers

    with torch.device("meta"):
        config, name = {LLAVA: llava, QWEN: qwen, FLORENCE: florence}[kind](numbers)
        return getattr(transformers, name)(config)


def build(kind: str, numbers: Sizes, dtype: Any) -> Any:
    """A model of these sizes whose weights are all one small number."""
    import torch
    import transformers

    model = skeleton(kind, numbers).to(dtype).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.fill_(0.01)
    model.tie_weights()
    model.generation_config = transformers.GenerationConfig(
        max_new_tokens=ANSWER, min_new_tokens=ANSWER, do_sample=False, num_beams=3 if kind == FLORENCE else 1,
        pad_token_id=0, eos_token_id=2, decoder_start_token_id=2,
    )  # fmt: skip
    return model.eval()


def llava(numbers: Sizes) -> tuple[Any, str]:
    """LLaVA: CLIP and Llama."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=numbers["vision_hidden"], intermediate_size=4 * numbers["vision_hidden"], patch_size=14,
        num_hidden_layers=numbers["vision_layers"], num_attention_heads=numbers["vision_hidden"] // 64, image_size=SIDE,
    )  # fmt: skip
    text = LlamaConfig(**_decoder(numbers))
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=numbers["vocab"] - 1
    ), "LlavaForConditionalGeneration"


def qwen(numbers: Sizes) -> tuple[Any, str]:
    """Qwen2-VL, which sees a picture in its own resolution."""
    from transformers import Qwen2VLConfig

    wide = numbers["vision_hidden"]
    vision = {"depth": numbers["vision_layers"], "embed_dim": wide, "num_heads": wide // 64}
    rope = {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6}
    ids = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    special = {name: numbers["vocab"] - 1 - place for place, name in enumerate(ids)}
    config = Qwen2VLConfig(
        vision_config=vision | {"hidden_size": numbers["hidden"]},
        text_config=_decoder(numbers) | {"rope_parameters": rope}, tie_word_embeddings=True, **special,
    )  # fmt: skip
    return config, "Qwen2VLForConditionalGeneration"


def florence(numbers: Sizes) -> tuple[Any, str]:
    """Florence-2: DaViT and BART."""
    from transformers import BartConfig, Florence2Config

    wide, layers = numbers["hidden"], numbers["layers"]
    text = BartConfig(
        d_model=wide, encoder_layers=layers, decoder_layers=layers, encoder_ffn_dim=4 * wide, decoder_ffn_dim=4 * wide,
        encoder_attention_heads=wide // 64, decoder_attention_heads=wide // 64, vocab_size=numbers["vocab"],
        max_position_embeddings=1024,
    )  # fmt: skip
    vision = {"embed_dim": [numbers["width"] * 2**stage for stage in range(4)], "projection_dim": wide}
    heads = [numbers["width"] // 32 * 2**stage for stage in range(4)]
    config = Florence2Config(
        vision_config=vision | {"num_heads": heads, "num_groups": heads}, text_config=text.to_dict(),
        image_token_id=numbers["vocab"] - 1,
    )  # fmt: skip
    return config, "Florence2ForConditionalGeneration"


def _decoder(numbers: Sizes) -> dict[str, Any]:
    return {
        "hidden_size": numbers["hidden"], "intermediate_size": numbers["ffn"], "num_hidden_layers": numbers["layers"],
        "num_attention_heads": numbers["hidden"] // 64, "num_key_value_heads": numbers["kv_heads"],
        "vocab_size": numbers["vocab"], "max_position_embeddings": 8192,
    }  # fmt: skip


def answer(model: Any, kind: str, numbers: Sizes, dtype: Any) -> None:
    """One picture, a question of PROMPT tokens and an answer of ANSWER."""
    import torch

    tokens, more = 577, {}
    side = 768 if kind == FLORENCE else SIDE
    if kind == LLAVA:
        tokens = (SIDE // 14) ** 2
    if kind == QWEN:
        high, wide = numbers["grid_high"], numbers["grid_wide"]
        tokens = high * wide // 4
        more = {"image_grid_thw": torch.tensor([[1, high, wide]])}
    ids = torch.full((1, tokens + PROMPT), 5)
    ids[0, 1 : tokens + 1] = numbers["vocab"] - 1
    if kind == QWEN:
        ids[0, 0] = numbers["vocab"] - 3
        more["mm_token_type_ids"] = (ids == numbers["vocab"] - 1).long()
    pixels = torch.rand((high * wide, 1176) if kind == QWEN else (1, 3, side, side))
    with torch.inference_mode():
        model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels.to(dtype), **more
        )  # fmt: skip


def pack(model: Any, bits: int) -> None:
    """Store the weights of every linear layer but the head in so few bits; each is unpacked while it multiplies."""
    import torch
    from torch import nn

    class Packed(nn.Module):
        """A linear layer with a scale for each row (8 bits) or each 64 weights (4 bits)."""

        def __init__(self, linear: nn.Linear) -> None:
            super().__init__()
            self.shape, self.bias = linear.weight.shape, linear.bias
            count = linear.weight.numel()
            self.stored = torch.ones(count * bits // 8, dtype=torch.uint8)
            self.scales = torch.ones(self.shape[0] if bits == 8 else count // 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = torch.empty(self.shape, dtype=x.dtype).fill_(float(self.stored[0]) * float(self.scales[0]) * 0.01)
            return nn.functional.linear(x, weight, self.bias)

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and name != "lm_head":
                setattr(parent, name, Packed(child))


if __name__ == "__main__":
    main()
