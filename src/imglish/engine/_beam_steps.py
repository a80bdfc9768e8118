"""What transformers' search with beams asks for logits: a stepper, which has read the prompt once and forks it.

The search gives the whole text of each beam at every step. What a beam wrote before its last token says which row it
goes on from, so that nobody has to be told which beams were chosen.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput

from imglish.engine.generate import Decoded
from imglish.engine.step import Slot

if TYPE_CHECKING:
    from imglish.engine._starts import Starts
    from imglish.engine.loop import Job

Written = tuple[int, ...]


class Stepped(GenerationMixin, torch.nn.Module):
    """A decoder without weights of its own: one prompt's, from what is known of it. `close` it after the search."""

    main_input_name = "input_ids"
    _is_stateful = True  # keys and values are the stepper's

    def __init__(self, starts: Starts, job: Job) -> None:
        super().__init__()
        self.starts, self.job = starts, job
        self.config = starts.loaded.model.config
        self.begin = job.prompt.ids
        """The tokens before what is written."""
        if starts.encodes:  # the search does not see the encoder: the stepper looks at what it made
            self.config = copy.copy(self.config.get_text_config())
            self.config.is_encoder_decoder = False
            self.begin = torch.tensor(starts.first, device=job.prompt.ids.device)
        self.generation_config = starts.loaded.model.generation_config
        self._rows: dict[Written, tuple[Slot, Tensor, int]] = {}  # slot, logits (vocab,) of what comes next, regime

    @property
    def device(self) -> torch.device:
        """Where the prompt is."""
        return self.job.prompt.ids.device

    def prepare_inputs_for_generation(self, input_ids: Tensor, **_: Any) -> dict[str, Any]:
        """All that was written so far is looked at, and no cache of transformers is."""
        return {"input_ids": input_ids}

    def forward(self, input_ids: Tensor, return_dict: bool = True) -> CausalLMOutput:
        """Logits (beams, 1, vocab) of what comes after the texts (beams, length) of all beams."""
        written = [tuple(row) for row in input_ids[:, len(self.begin) :].tolist()]
        self._go_on(list(dict.fromkeys(written)))
        return CausalLMOutput(logits=torch.stack([self._rows[one][1] for one in written])[:, None])

    def close(self) -> None:
        """Frees the rows of all beams."""
        self.starts.stepper.drop([slot for slot, *_ in self._rows.values()])
        self._rows = {}

    def _go_on(self, written: list[Written]) -> None:
        """Rows for these texts, made of those there are; the others are dropped."""
        regime = self.starts.regime(self.job.prompt, len(written[0]))
        before, self._rows = self._rows, {}
        grown: list[tuple[Written, Slot]] = []
        for one in written:
            slot, _, known = before.get(one[:-1], (None, None, None)) if one else (None, None, None)
            if slot is not None and known == regime:
                grown.append((one, slot))
        for place, (one, slot) in enumerate(grown):
            if any(slot is other for _, other in grown[place + 1 :]):
                grown[place] = (one, self.starts.stepper.fork(slot)[0])
        kept = {id(slot) for _, slot in grown}
        self.starts.stepper.drop([slot for slot, *_ in before.values() if id(slot) not in kept])
        if grown:
            tokens = torch.tensor([one[-1] for one, _ in grown])
            logits = self.starts.stepper.step(tokens, [slot for _, slot in grown])
            for (one, slot), row in zip(grown, logits.float(), strict=True):
                self._rows[one] = (slot, row, regime)
        for one in written:
            if one not in self._rows:
                self._rows[one] = (*self._read(one), regime)

    def _read(self, written: Written) -> tuple[Slot, Tensor]:
        """The prompt and what a beam wrote, read from what is known of them; the job is told what that was."""
        row = self.job.row if not written else Decoded(ids=list(written))
        ((_, slot, logits),) = list(self.starts.begin([dataclasses.replace(self.job, row=row)]))
        return slot, logits
