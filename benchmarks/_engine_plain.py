"""The peer of benchmarks/engine.py: `generate` of transformers, with the settings that are the quickest for it here."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from _engine_machine import now
from transformers.generation.streamers import BaseStreamer

from imglish.core.types import Request
from imglish.engine._opening import open_request
from imglish.families._base import Loaded

TRIED = 16  # tokens that each setting is tried with, where a row does not say how many it needs


class Plain:
    """Requests answered by `generate`, in batches where there are several; the family's own code makes the tensors."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.setting = "sdpa, dynamic cache"
        self._static = False
        self._best: dict[str, tuple[str, bool]] = {}

    def settle(self, name: str, requests: Sequence[Request], tokens: int) -> None:
        """Takes the attention and the cache that do this work in the shortest time; tried once for each name."""
        if name not in self._best:
            found: dict[tuple[str, bool], float] = {}
            caches = (False,) if self.loaded.model.config.is_encoder_decoder else (False, True)
            for _ in range(2):
                for attention in ("sdpa", "eager"):
                    for static in caches:
                        self._use(attention, static)
                        try:
                            seconds = self._seconds(requests, tokens)
                        except (ValueError, RuntimeError, NotImplementedError, AttributeError):
                            continue  # this model has no such setting
                        found[attention, static] = min(seconds, found.get((attention, static), seconds))
            self._best[name] = min(found, key=found.__getitem__)
        attention, static = self._best[name]
        self._use(attention, static)
        self.setting = f"{attention}, {'static' if static else 'dynamic'} cache"

    def _seconds(self, requests: Sequence[Request], tokens: int) -> float:
        if len(requests) == 1 and tokens > 1:
            return sum(self.seconds(requests[0], tokens))
        began = now()
        self.generate(requests, tokens)
        return now() - began

    def _use(self, attention: str, static: bool) -> None:
        model = self.loaded.model
        getattr(model, "decoder", model).set_attn_implementation(attention)  # a bridge's encoder is our own
        self._static = static

    def run(self, requests: Sequence[Request], tokens: int, *, batch: int = 8) -> None:
        """Answers of exactly so many tokens."""
        for first in range(0, len(requests), batch):
            self.generate(requests[first : first + batch], tokens)

    def generate(self, requests: Sequence[Request], tokens: int, *, logits: bool = False, **more: Any) -> Any:
        """What `generate` gives for one batch; with `logits`, those of every token too."""
        opened = [open_request(request) for request in requests]
        tensors, _ = self.loaded.family.inputs(self.loaded, opened)
        config = copy.deepcopy(self.loaded.model.generation_config)
        config.do_sample, config.num_beams, config.max_new_tokens = False, 1, tokens
        config.output_logits = config.return_dict_in_generate = logits
        config.max_length, config.forced_eos_token_id = None, None
        config.cache_implementation = "static" if self._static else None
        if config.pad_token_id is None:
            config.pad_token_id = self.loaded.tokenizer.pad_token_id or 0
        with torch.inference_mode():
            return self.loaded.model.generate(**tensors, generation_config=config, **more)

    def seconds(self, request: Request, tokens: int) -> tuple[float, float]:
        """(until the first token is there, from there to the last)."""
        clock = _Clock()
        began = now()
        self.generate([request], tokens, streamer=clock)
        return clock.at[1] - began, clock.at[-1] - clock.at[1]


class _Clock(BaseStreamer):
    """When each token came; the prompt comes first."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: Any) -> None:
        self.at.append(now())

    def end(self) -> None:
        """Nothing is left to do."""
