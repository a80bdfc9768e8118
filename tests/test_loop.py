"""The loop that decodes: the tokens of `model.generate` for every family, alone, together, sampled, stopped, cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imglish.core.types import ImagePart, Message, Request, TextPart, VideoPart
from imglish.engine.beams import settings
from imglish.engine.generate import Options
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


def picture(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def ask(*images: Image.Image, skill: str = "ask", text: str = "How many?") -> Request:
    parts = [VideoPart(images)] if skill == "watch" else [ImagePart(image) for image in images]
    return Request(skill, (Message("user", (*parts, TextPart(text))),), text)


def requests_of(loaded: Loaded) -> list[Request]:
    requests = [
        ask(picture(0), text="How many cats are in this picture, and which colour has each of them?"),
        ask(picture(1, (50, 200)), text="?"),
        ask(picture(0), text="How many dogs?"),
        ask(*(picture(n) for n in range(2, 2 + min(2, loaded.family.max_images))), text="What changed?"),
    ]
    if loaded.family.max_frames:
        requests.append(ask(picture(5), picture(6), picture(7), skill="watch", text="Where to?"))
    return requests


def generated(loaded: Loaded, request: Request, options: Options) -> list[int]:
    """What transformers' own loop writes, greedily, of one request alone."""
    tensors, _ = loaded.family.inputs(loaded, [request])
    config = settings(loaded, options, 1)
    banned = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.banned(request)))
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned}) or None
    with torch.inference_mode():
        made = loaded.model.generate(**tensors, generation_config=config).sequences[0].tolist()
    given = tensors["input_ids"][0].tolist()
    start = len(given) if made[: len(given)] == given else int(loaded.model.config.is_encoder_decoder)
    ids = made[start:]
    return ids[:-1] if ids and ids[-1] in config.eos_token_id else ids


def written(vlm: VLM, requests: list[Request], **options: Any) -> list[list[int]]:
    chosen = Options(**options)
    found: dict[int, list[int]] = {}
    from imglish.engine.vlm import open_request

    for index, answer in vlm._runner.run(vlm.loaded, requests, chosen, opening=open_request):
        found[index] = answer.row.ids
    return [found[index] for index in range(len(requests))]


@pytest.mark.parametrize("cache", [True, False])
def test_greedy_tokens_are_those_of_generate(loaded: Loaded, cache: bool) -> None:
    requests, options = requests_of(loaded), Options(max_tokens=12)
    expected = [generated(loaded, request, options) for request in requests]
    vlm = VLM(loaded)
    assert written(vlm, requests, max_tokens=12, beams=1, cache=cache) == expected
    assert [written(vlm, [one], max_tokens=12, beams=1, cache=cache)[0] for one in requests] == expected
