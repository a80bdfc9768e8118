"""The search for the most probable answer, by transformers' own beams, behind the interface of the loop.

A prompt is not read again where it is known: beams go on from its keys and values, or look at its encoding.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers.generation.logits_process import LogitsProcessor, LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList

from imglish.core.errors import InputError
from imglish.engine._beam_steps import Stepped
from imglish.engine._told import Top, most_probable
from imglish.engine.generate import Decoded, Options, append, detokenize, ends_of
from imglish.engine.guide import Guide
from imglish.families._base import Loaded

if TYPE_CHECKING:
    from imglish.engine._starts import Starts
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
def search(starts: Starts, job: Job, width: int, began: float | None = None) -> Decoded:
    """Fills a job's answer with the best of `width` beams. Its deadline counts from `began`, by the monotonic clock."""
    loaded, options, row = starts.loaded, job.options, job.row
    config = settings(loaded, options, width)
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *job.rules.suppressed}) or None
    config.repetition_penalty = job.rules.repetition_penalty
    watch = _Watch(options, time.monotonic() if began is None else began)
    more: dict[str, Any] = {"stopping_criteria": StoppingCriteriaList([watch])}
    if options.stop:
        config.stop_strings = list(options.stop)
        more["tokenizer"] = loaded.tokenizer
    if job.guide is not None:
        config.max_new_tokens = max(options.max_tokens, job.guide.shortest)
        config.output_logits = True
        more["logits_processor"] = LogitsProcessorList([_Guided(job.guide, config.max_new_tokens)])
    config.use_cache = False  # transformers keeps nothing: the stepper does
    stepped: Any = Stepped(starts, job)
    try:
        made = stepped.generate(stepped.begin[None], generation_config=config, **more)
    finally:
        stepped.close()
    for token, value, top in _tokens(loaded, made, len(stepped.begin), options.logprobs or 0):
        if append(row, token, value, ends=ends_of(loaded), tokenizer=loaded.tokenizer, stop=options.stop, top=top):
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


class _Guided(LogitsProcessor):
    """A guide for each beam: what each has written says what it may write next."""

    def __init__(self, guide: Guide, most: int) -> None:
        self.known: dict[tuple[int, ...], Guide | None] = {(): guide}
        self.most, self.start = most, -1

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.start = input_ids.shape[1] if self.start < 0 else self.start
        rows = [tuple(row) for row in input_ids[:, self.start :].tolist()]
        self.known = {row: self._guide(row) for row in rows}
        narrowed = scores.clone()
        for place, row in enumerate(rows):
            guide = self.known[row]
            allowed = None if guide is None else guide.closing(self.most - len(row))
            if allowed is None:  # a beam that ended, or that was taken for want of others: no search goes on from it
                continue
            mask = allowed[: scores.shape[1]].to(scores.device)
            narrowed[place] = narrowed[place].masked_fill(~mask, -torch.inf)
            if not bool(torch.isfinite(narrowed[place]).any()):  # what other rules forbid is all that the guide allows
                narrowed[place] = torch.zeros_like(narrowed[place]).masked_fill(~mask, -torch.inf).log_softmax(-1)
        return cast("torch.FloatTensor", narrowed)

    def _guide(self, row: tuple[int, ...]) -> Guide | None:
        before = self.known.get(row[:-1]) if row else self.known[()]
        if not row or before is None or before.ended:
            return before if not row else None
        guide = before.fork()
        try:
            guide.accept(row[-1])
        except InputError:
            return None
        return guide


class _Watch(StoppingCriteria):
    """Ends the search at its deadline, or when it is cancelled."""

    def __init__(self, options: Options, began: float) -> None:
        self.options, self.began, self.why = options, began, ""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        options = self.options
        if options.cancel is not None and options.cancel.is_set():
            self.why = "cancelled"
        elif options.deadline is not None and time.monotonic() - self.began >= options.deadline:
            self.why = "deadline"
        return torch.full((len(input_ids),), bool(self.why), device=input_ids.device)


def _tokens(loaded: Loaded, made: Any, first: int, most: int) -> Iterator[tuple[int, float, Top]]:
    """(token, its log-probability as it was chosen, `most` of the most probable) of the best beam's from `first` on."""
    sequences = made.sequences
    new = sequences[:, first:]
    beams = getattr(made, "beam_indices", None)
    told = made.scores if getattr(made, "logits", None) is None else made.logits  # the model's own, under a guide
    scores = loaded.model.compute_transition_scores(sequences, told, beams, normalize_logits=True)
    scores = torch.nn.functional.pad(scores.float(), (0, max(new.shape[1] - scores.shape[1], 0)))
    for place, (token, value) in enumerate(zip(new[0].tolist(), scores[0].tolist(), strict=False)):
        row = 0 if beams is None or place >= beams.shape[1] else max(int(beams[0, place]), 0)
        yield token, value, most_probable(told[place][row], most) if most and place < len(told) else ()
