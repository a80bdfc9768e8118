"""Last stage: the checkpoint as it ships, what is familiar to it, and the run's records for the model card."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import numpy as np
import torch
import unlike
from loop import Plan
from PIL import Image
from safetensors.torch import load_file
from scenes import SEE, SPEAK, draw, known, seeds
from see import normalised
from speak import SIDE, bridge
from targets import frame
from transformers import PreTrainedTokenizerFast

from imglish.families._familiar import FILE, Familiarity, traits
from imglish.nn import BridgeProcessor

PICTURES = 3000
DATA = Path(__file__).parents[2] / "src/imglish/families/data"


def familiarity(model: torch.nn.Module, count: int) -> Familiarity:
    """How the encoder sees `count` pictures of the world, and how it sees pictures of the same shapes unlike it."""
    mixture, pictures = known(SPEAK), []
    for seed in seeds("export", 0, count):
        scene = draw(seed, mixture)
        pictures.append(scene.images[seed % len(scene.images)])
    others = [unlike.draw(number, pictures[number].size) for number in range(count // 4)]
    return Familiarity.fit(seen(model, pictures), seen(model, others))


def known_pictures(plan: Plan, model: torch.nn.Module, count: int, last: str) -> Path:
    """The file of what is familiar: it depends on the encoder alone, and is kept in the run until that changes."""
    kept, encoder = plan.out / FILE, plan.out / ("polish" if last == "polish" else "see")
    made_of = encoder.with_suffix(".safetensors")
    if not kept.exists() or (made_of.exists() and made_of.stat().st_mtime > kept.stat().st_mtime):
        familiarity(model, count).save(plan.out)
    return kept


@torch.inference_mode()
def seen(model: torch.nn.Module, pictures: list[Image.Image]) -> torch.Tensor:
    """What `Familiarity` looks at in each picture."""
    rows = []
    for start in range(0, len(pictures), 50):
        pixels = normalised(np.stack([frame(picture, SIDE)[0] for picture in pictures[start : start + 50]]))
        rows.append(traits(pixels, *model.vision.see(pixels)))
    return torch.cat(rows)


def records(plan: Plan, model: torch.nn.Module, vocabulary: int, size: int) -> dict[str, object]:
    """What the model card is written from: sizes, machine, and what each stage did."""
    stages = {}
    for stage in ("see_warm", "see", "talk", "align", "instruct", "polish"):
        logs = [path.read_text().splitlines()[-1] for path in sorted(plan.out.glob(f"{stage}.*.jsonl"))]
        if logs:
            stages[stage] = {"workers": len(logs), "last": [json.loads(line) for line in logs]}
    parts = {
        "vision": model.vision,
        "adapter": model.adapter,
        "frame_adapter": model.frame_adapter,
        "decoder": model.decoder,
    }
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            processor = line.split(":")[1].strip()
    return {
        "parameters": {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()},
        "bytes": size, "vocabulary": vocabulary, "hardware": f"{processor}, {plan.device}", "torch": torch.__version__,
        "stages": stages, "mixtures": {"see": known(SEE), "speak": known(SPEAK)},
    }  # fmt: skip


def run(plan: Plan, data: Path = DATA, pictures: int = PICTURES) -> None:
    """Write the checkpoint of the last finished stage into the package."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(plan.out / "tokenizer")
    model = bridge(tokenizer)
    last = next(name for name in ("polish", "instruct", "align") if (plan.out / f"{name}.safetensors").exists())
    missing, unexpected = model.load_state_dict(load_file(plan.out / f"{last}.safetensors"), strict=False)
    if unexpected or set(missing) - {"decoder.lm_head.weight"}:
        raise SystemExit(f"{last}.safetensors does not fit: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    model.eval().to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config._attn_implementation = "eager"
    data.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(data)
    BridgeProcessor.for_bridge(model.config, tokenizer, image_std=(0.25, 0.25, 0.25)).save_pretrained(data)
    shutil.copy(known_pictures(plan, model.float(), pictures, last), data)
    size = (data / "model.safetensors").stat().st_size
    (data / "run.json").write_text(json.dumps(records(plan, model, len(tokenizer), size), indent=1))
    print(f"export: {last}, {size / 1e6:.1f} MB in {data}", flush=True)
