"""The search for the most probable answer, by transformers' own beams, behind the interface of the loop.

An encoder-decoder's prompt is not encoded again where its encoding is kept.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.modeling_outputs import BaseModelOutput

from imglish.engine.generate import Decoded, Options, append, detokenize, ends_of
from imglish.families._base import Loaded

if TYPE_CHECKING:
    from imglish.engine.loop import Job


def count(loaded: Loaded, options: Options) -> int:
    """How many beams an answer is searched with: as asked, or as the checkpoint was published; 1 is the loop's."""
    if options.temperature > 0 or options.n > 1:
        return 1
    if options.beams is not None:
        return options.beams
    own = getattr(loaded.model.generation_config, "num_beams", None)
    return int(getattr(loaded.family, "generation", {}).get("num_beams", 1) if own is None else own)


@torch.inference_mode()
def search(loaded: Loaded, job: Job, width: int, *, encoded: Any = None) -> Decoded:
    """Fills a job's answer with the best of `width` beams; an encoder-decoder's from what `encoded` its prompt."""
    prompt, options, row = job.prompt, job.options, job.row
    config = settings(loaded, options, width)
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *job.rules.suppressed}) or None
    config.repetition_penalty = job.rules.repetition_penalty
    watch = _Watch(options)
    more: dict[str, Any] = {"stopping_criteria": StoppingCriteriaList([watch])}
    if options.stop:
        config.stop_strings = list(options.stop)
        more["tokenizer"] = loaded.tokenizer
    if encoded is not None:
        hidden = encoded.kept.encoded.hidden
        given: dict[str, Any] = {
            "encoder_outputs": BaseModelOutput(last_hidden_state=hidden),
            "attention_mask": torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device),
        }
    else:
        given, _ = loaded.family.inputs(loaded, [prompt.request])
        if not loaded.family.native:
            given, _ = loaded.family.look(loaded, given, [prompt.receipt], kept={})
    made = loaded.model.generate(**given, generation_config=config, **more)
    tokens, logprobs = _tokens(loaded, made, given)
    for token, value in zip(tokens, logprobs, strict=True):
        if append(row, token, value, ends=ends_of(loaded), tokenizer=loaded.tokenizer, stop=options.stop):
            break
    row.text = row.text or detokenize(loaded.tokenizer, row.ids)
    if not row.ended:
        row.stopped = watch.why or "length"
    return row


def settings(loaded: Loaded, options: Options, width: int) -> Any:
    """The checkpoint's generation config, the family's where it says nothing, and over both what was asked for."""
    config = copy.deepcopy(loaded.model.generation_config)
    for name, value in getattr(loaded.family, "generation", {}).items():
        if getattr(config, name, None) is None:
            setattr(config, name, value)
    config.do_sample, config.temperature, config.top_p, config.top_k = False, None, None, None
    config.num_beams, config.max_new_tokens = width, options.max_tokens
    config.max_length, config.min_length = None, None
    config.eos_token_id = sorted(ends_of(loaded))
    config.return_dict_in_generate = config.output_scores = True
    if config.pad_token_id is None:
        pad = loaded.tokenizer.pad_token_id
        config.pad_token_id = config.eos_token_id[0] if pad is None else pad
    return config


class _Watch(StoppingCriteria):
    """Ends the search at its deadline, or when it is cancelled."""

    def __init__(self, options: Options) -> None:
        self.options, self.began, self.why = options, time.monotonic(), ""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        options = self.options
        if options.cancel is not None and options.cancel.is_set():
            self.why = "cancelled"
        elif options.deadline is not None and time.monotonic() - self.began >= options.deadline:
            self.why = "deadline"
        return torch.full((len(input_ids),), bool(self.why), device=input_ids.device)


def _tokens(loaded: Loaded, made: Any, given: dict[str, Any]) -> tuple[Sequence[int], Sequence[float]]:
    """(new tokens, log-probability of each as it was chosen) of the best beam."""
    sequences = made.sequences
    start = 1 if loaded.model.config.is_encoder_decoder else 0
    ids = given.get("input_ids")
    if ids is not None and not start and torch.equal(sequences[:, : ids.shape[1]], ids):
        start = ids.shape[1]  # some models give the prompt back, some only what they wrote
    new = sequences[:, start:]
    beams = getattr(made, "beam_indices", None)
    scores = loaded.model.compute_transition_scores(sequences, made.scores, beams, normalize_logits=True)
    scores = torch.nn.functional.pad(scores.float(), (0, max(new.shape[1] - scores.shape[1], 0)))
    return new[0].tolist(), scores[0, : new.shape[1]].tolist()
