"""Predicted peak memory of requests beside what they take, on random models of two sizes.

`value` is the most bytes that tensors held at once beside the weights, `against` what `imglish.engine.budget` said
before, in megabytes; `ratio` is predicted / measured. Open pictures, which Pillow holds, are in neither.
"""

from __future__ import annotations

import copy
import gc
from typing import Any

import numpy as np
from _peak import Peak
from _table import Report, parser, row
from PIL import Image

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import budget
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded

PICTURE = (600, 400)
FAMILY_NAMES = ("llava", "qwen2_vl", "imglish", "idefics3", "florence2")
CASES = ((1, 16, 1), (1, 300, 1), (4, 16, 1), (1, 16, 8))  # pictures of a request, tokens of its answer, requests
MEDIUM = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64}
EYE = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 6}
MEDIUM_NAMES = ("llava", "idefics3")
NAMES = [
    f"budget/{size}/{name}/images{images}_tokens{tokens}_requests{requests}"
    for size, names in (("tiny", FAMILY_NAMES), ("medium", MEDIUM_NAMES))
    for name in names
    for images, tokens, requests in CASES
    if images <= FAMILIES.get(name).max_images
]


def main() -> None:
    """Measure each case in turn; a model is built when its first case is due."""
    options = parser(__doc__ or "")
    options.add_argument("--samples", type=int, default=len(NAMES), help="how many cases, the smallest models first")
    given = options.parse_args()
    report = Report(given, {"picture": list(PICTURE)})
    made: tuple[str, Loaded | None] = ("", None)
    for name in NAMES[: given.samples]:
        if report.has(name):
            continue
        _, size, family, case = name.split("/")
        if made[0] != f"{size}/{family}":
            made = (f"{size}/{family}", build(family, size))
        assert made[1] is not None
        measured, predicted = measure(
            made[1], *(int(part.strip("abcdefghijklmnopqrstuvwxyz")) for part in case.split("_"))
        )
        report.add(row(name, measured / 1e6, against=predicted / 1e6, ratio=predicted / measured, unit="MB"))
    report.show()


def build(family: str, size: str) -> Loaded:
    """A random model: the family's tiny one, or the same with a larger encoder and decoder."""
    import torch

    loaded = FAMILIES.get(family)().tiny()
    if size == "tiny":
        return loaded
    config = copy.deepcopy(loaded.model.config)
    for part, numbers in ((config.text_config, MEDIUM | HEADS), (config.vision_config, EYE)):
        for name, value in numbers.items():
            if hasattr(part, name):
                setattr(part, name, value)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = type(loaded.model)(config).eval()
    return Loaded(model, loaded.processor, loaded.family, "medium", loaded.extra)


def measure(loaded: Loaded, images: int, tokens: int, count: int) -> tuple[int, int]:
    """(bytes measured, bytes predicted) beside the weights."""
    skill = next(skill for skill in ("ask", "caption", "detect") if skill in loaded.family.skills)
    requests = []
    for number in range(count):
        parts = (*(ImagePart(picture(number * images + seed)) for seed in range(images)), TextPart("What is it?"))
        requests.append(Request(skill, (Message("user", parts),), "What is it?"))
    vlm = VLM(loaded, max_tokens=tokens)
    needs = [budget.check(loaded, request, vlm.options) for request in requests]
    vlm.run([requests[0]], cache=False)  # what a first request makes for all is not this one's
    gc.collect()
    with Peak(loaded.model) as peak:
        vlm.run(requests)
    open_pictures = 3 * PICTURE[0] * PICTURE[1] * images * count
    return peak.most, budget.together(loaded, needs) - needs[0].weights - open_pictures


def picture(seed: int) -> Any:
    """A picture like no other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (PICTURE[1], PICTURE[0], 3), np.uint8)
    return Image.fromarray(pixels)


if __name__ == "__main__":
    main()
