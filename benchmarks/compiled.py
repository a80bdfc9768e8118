"""One token after another by the engine, and by transformers' decoder as `torch.compile` makes it, over a static cache.

`value` is the engine's, `against` the compiled one's, in tokens a second. What compiling takes is not counted: it
stands in the log. Needs a C++ compiler; logits of both are compared before anything is timed.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from typing import Any

import torch
from _engine_machine import bandwidth, now
from _engine_models import TITLES, build
from _table import Report, parser, row, say
from transformers import StaticCache

from imglish.engine._fast_weights import find
from imglish.engine.fast import lean

PROMPT, STEPS, ROOM = 600, 16, 64  # tokens of the prompt, of one measurement, of the cache beyond the prompt
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "default": {"freezing": True},
    "tuned": {"freezing": True, "max_autotune": True, "max_autotune_gemm_backends": "ATEN,CPP"},
}


def main() -> None:
    """Measure each way of compiling; the engine takes turns with each."""
    options = parser(__doc__ or "")
    options.add_argument("--samples", type=int, default=5, help="runs of each, in turns; the median counts (default 5)")
    options.add_argument(
        "--letter", default="b", choices=sorted(set(TITLES) - {"d"}), help="letter of engine.py's models"
    )
    options.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS), metavar="WAY")
    options.add_argument("--quick", action="store_true", help="a tiny model: whether everything runs")
    options.add_argument("--threads", type=int, help="of torch")
    given = options.parse_args()
    if any(WAYS[name] for name in given.ways) and shutil.which("c++") is None and shutil.which("g++") is None:
        raise SystemExit("there is no C++ compiler, and torch.compile needs one; install g++")
    if given.threads:
        torch.set_num_threads(given.threads)
    settings = {"device": "cpu", "processor_time": False, "threads": torch.get_num_threads()}
    report = Report(given, settings | {"samples": given.samples, "quick": given.quick})
    report.add(row("machine/bandwidth", bandwidth("cpu", quick=given.quick) / 1e9, unit="GB / s"))
    model = build(given.letter, quick=given.quick, device="cpu").model
    prompt = torch.randn(PROMPT, model.get_input_embeddings().embedding_dim, dtype=model.dtype) * 0.02
    ours, first = engine(model, prompt)
    for name in given.ways:
        theirs, second = compiled(model, prompt, WAYS[name])
        far = float((first - second).abs().mean() / second.std())
        say(f"{name}: logits differ by {far:.1g} of their spread")
        if not far < 0.1:
            raise SystemExit(f"{name}: the engine's logits are {far:.2g} of their spread away")
        pairs = [(ours(), theirs()) for _ in range(given.samples + 1)][1:]
        speeds = [[STEPS / seconds for seconds in one] for one in zip(*pairs, strict=True)]
        value, against = map(statistics.median, speeds)
        interval = (min(speeds[0]), max(speeds[0]))
        title = f"{given.letter}/compiled/{name}"
        report.add(row(title, value, interval, against=against, ratio=value / against, unit="tokens / s"))
    report.show()


def engine(model: Any, prompt: torch.Tensor) -> tuple[Callable[[], float], torch.Tensor]:
    """(what takes `STEPS` tokens after the prompt and gives the seconds, logits after one)."""
    stepper = lean(model)
    assert stepper is not None, "the engine has no lean step of this model"
    with torch.inference_mode():
        _, (slot,) = stepper.prefill(prompt[None])
    length, position = slot.length, slot.position
    token = torch.tensor([7])

    @torch.inference_mode()
    def steps() -> float:
        stepper.rewind(slot, length, position)
        began = now()
        for _ in range(STEPS):
            stepper.step(token, [slot])
        return now() - began

    with torch.inference_mode():
        first = stepper.step(token, [slot])[0].float().clone()
    return steps, first


@torch.no_grad()
def compiled(model: Any, prompt: torch.Tensor, settings: dict[str, Any]) -> tuple[Callable[[], float], torch.Tensor]:
    """The same by transformers' own decoder; without settings it is not compiled."""
    body, head = find(model)
    cache = StaticCache(body.config, max_cache_len=PROMPT + ROOM)
    body(inputs_embeds=prompt[None], past_key_values=cache, use_cache=True)

    def step(token: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        seen = body(input_ids=token, past_key_values=cache, position_ids=at[None], use_cache=True)
        logits: torch.Tensor = head(seen.last_hidden_state[:, -1])
        return logits

    run = step
    if settings:
        torch._dynamo.reset()
        import torch._inductor.config as inductor

        with inductor.patch(settings):
            run = torch.compile(step, dynamic=False)
            began = now()
            run(torch.tensor([[7]]), torch.tensor([PROMPT]))
            say(f"compiled in {now() - began:.0f} s")
    token = torch.tensor([[7]])

    @torch.no_grad()
    def steps() -> float:
        cache_at(cache, PROMPT)
        began = now()
        for number in range(STEPS):
            run(token, torch.tensor([PROMPT + number]))
        return now() - began

    cache_at(cache, PROMPT)
    return steps, run(token, torch.tensor([PROMPT]))[0].float().clone()


def cache_at(cache: Any, length: int) -> None:
    """Takes a static cache back to its first tokens."""
    for layer in cache.layers:
        layer.cumulative_length.fill_(length)


if __name__ == "__main__":
    main()
