"""Decoding by the model's own `generate`, for families of published checkpoints: beams, encoder-decoders, M-RoPE.

`decode` answers a batch; `steps` gives the tokens of one answer as they come, from a thread of its own.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.generation.stopping_criteria import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from imglish.engine import generate
from imglish.engine.generate import Decoded, Options
from imglish.families._base import Loaded


def decode(loaded: Loaded, tensors: dict[str, Any], options: Options, banned: Sequence[str] = ()) -> list[Decoded]:
    """Answers to a left-padded batch, in the checkpoint's own way: its beams and its penalties hold."""
    rows = [Decoded() for _ in range(len(tensors["input_ids"]))]
    made = _generate(loaded, tensors, options, banned)
    chosen, logprobs = _tokens(loaded, made, tensors)
    ends = set(_ends(loaded))
    for row, tokens, values in zip(rows, chosen, logprobs, strict=True):
        for token, value in zip(tokens, values, strict=True):
            if generate.append(row, token, value, ends=ends, tokenizer=loaded.tokenizer, stop=options.stop):
                break
        row.text = row.text or generate.detokenize(loaded.tokenizer, row.ids)
    return rows


def steps(
    loaded: Loaded, tensors: dict[str, Any], options: Options, row: Decoded, *, banned: Sequence[str] = ()
) -> Iterator[None]:
    """Fills `row` and yields after each token. With beams, which decide at the end, there is one step."""
    if (_settings(loaded, options).num_beams or 1) > 1:
        done = decode(loaded, tensors, options, banned)[0]
        row.ids, row.logprobs, row.ended, row.text = done.ids, done.logprobs, done.ended, done.text
        yield
        return
    line = _Line()
    worker = threading.Thread(target=line.run, args=(loaded, tensors, options, banned), daemon=True)
    worker.start()
    ends = set(_ends(loaded))
    try:
        for token in line:
            ended = generate.append(row, token, 0.0, ends=ends, tokenizer=loaded.tokenizer, stop=options.stop)
            yield
            if ended:
                break
    finally:
        line.left = True
        worker.join()
    if line.made is not None:
        _, logprobs = _tokens(loaded, line.made, tensors)
        row.logprobs = logprobs[0][: len(row.ids)]
    row.text = row.text or generate.detokenize(loaded.tokenizer, row.ids)


class _Line(BaseStreamer):
    """Tokens on their way from the thread that generates to whoever iterates."""

    def __init__(self) -> None:
        self.tokens: queue.Queue[int | BaseException | None] = queue.Queue()
        self.left = False
        self.made: Any = None
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self._is_prompt:
            self._is_prompt = False
            return
        for token in value.flatten().tolist():
            self.tokens.put(token)

    def end(self) -> None:
        """The end is put when everything of the answer is there."""

    def run(self, loaded: Loaded, tensors: dict[str, Any], options: Options, banned: Sequence[str]) -> None:
        """What the thread does; an error is raised where the tokens are awaited."""
        try:
            self.made = _generate(loaded, tensors, options, banned, line=self)
            self.tokens.put(None)
        except BaseException as error:  # noqa: BLE001 (it is raised again by whoever waits)
            self.tokens.put(error)

    def __iter__(self) -> Iterator[int]:
        while (token := self.tokens.get()) is not None:
            if isinstance(token, BaseException):
                raise token
            yield token


class _Left(StoppingCriteria):
    def __init__(self, line: _Line) -> None:
        self.line = line

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.line.left, device=input_ids.device)


def _settings(loaded: Loaded, options: Options) -> Any:
    """The checkpoint's generation config, the family's where it says nothing, and over both what was asked for."""
    config = copy.deepcopy(loaded.model.generation_config)
    for name, value in getattr(loaded.family, "generation", {}).items():
        if getattr(config, name, None) is None:
            setattr(config, name, value)
    config.do_sample = options.temperature > 0
    config.temperature = options.temperature if options.temperature > 0 else None
    config.top_p, config.top_k = (options.top_p, 0) if options.temperature > 0 else (None, None)
    if config.do_sample:
        config.num_beams = 1
    config.max_new_tokens, config.max_length, config.min_length = options.max_tokens, None, None
    config.eos_token_id = _ends(loaded)
    config.return_dict_in_generate = config.output_scores = True
    if config.pad_token_id is None:
        pad = loaded.tokenizer.pad_token_id
        config.pad_token_id = config.eos_token_id[0] if pad is None else pad
    return config


def _ends(loaded: Loaded) -> list[int]:
    given = loaded.model.generation_config.eos_token_id
    known = {given} if isinstance(given, int) else set(given or ())
    ids = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.stop))
    return sorted(known | {token for token in ids if token is not None})


@torch.inference_mode()
def _generate(
    loaded: Loaded, tensors: dict[str, Any], options: Options, banned: Sequence[str], *, line: _Line | None = None
) -> Any:
    config = _settings(loaded, options)
    if banned:
        config.suppress_tokens = [
            *(config.suppress_tokens or ()),
            *loaded.tokenizer.convert_tokens_to_ids(list(banned)),
        ]
    if options.stop:
        config.stop_strings = list(options.stop)
    more: dict[str, Any] = {"tokenizer": loaded.tokenizer} if options.stop else {}
    if line is not None:
        more |= {"streamer": line, "stopping_criteria": StoppingCriteriaList([_Left(line)])}
    with torch.random.fork_rng(enabled=options.temperature > 0 and options.seed is not None):
        if options.seed is not None and options.temperature > 0:
            torch.manual_seed(options.seed)
        return loaded.model.generate(**tensors, generation_config=config, **more)


def _tokens(loaded: Loaded, made: Any, tensors: dict[str, Any]) -> tuple[list[list[int]], list[list[float]]]:
    """(new tokens, log-probability of each as it was chosen) of every row."""
    given, sequences = tensors["input_ids"], made.sequences
    start = 1 if loaded.model.config.is_encoder_decoder else 0
    if not start and sequences.shape[1] >= given.shape[1] and torch.equal(sequences[:, : given.shape[1]], given):
        start = given.shape[1]  # some models give the prompt back, some only what they wrote
    new = sequences[:, start:]
    beams = getattr(made, "beam_indices", None)
    scores = loaded.model.compute_transition_scores(sequences, made.scores, beams, normalize_logits=True)
    scores = torch.nn.functional.pad(scores.float(), (0, max(new.shape[1] - scores.shape[1], 0)))
    return new.tolist(), scores[:, : new.shape[1]].tolist()
