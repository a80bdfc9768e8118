"""KOSMOS-2 of transformers, with two things set right that batches and step-by-step decoding need.

Its positions count the tokens of the cache, padding included, so that a row padded on the left goes wrong from its
second token on; here they count what the attention mask shows. And a step with a cache needs no picture.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Kosmos2ForConditionalGeneration
from transformers.models.kosmos2.modeling_kosmos2 import Kosmos2TextTransformer


class Kosmos2(Kosmos2ForConditionalGeneration):
    """Same weights, same names."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.text_model.register_forward_pre_hook(_positions, with_kwargs=True)
        self.text_model.model.__class__ = _Decoder

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if pixel_values is None and image_embeds is None:
            return self.text_model(input_ids=input_ids, **kwargs)
        return super().forward(pixel_values=pixel_values, input_ids=input_ids, image_embeds=image_embeds, **kwargs)


class _Decoder(Kosmos2TextTransformer):
    """Takes a mask that is ready made, too: (rows, 1, new, all), added to the scores."""

    def _prepare_decoder_attention_mask(self, attention_mask: Any, *shapes: Any) -> Any:
        if attention_mask is not None and attention_mask.dim() == 4:
            return attention_mask
        return super()._prepare_decoder_attention_mask(attention_mask, *shapes)


def _positions(text_model: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    mask = kwargs.get("attention_mask")
    given = kwargs.get("input_ids") if kwargs.get("input_ids") is not None else kwargs.get("inputs_embeds")
    if kwargs.get("position_ids") is None and mask is not None and mask.dim() == 2 and given is not None:
        counted = mask.long().cumsum(1) * mask.long() + text_model.config.pad_token_id
        kwargs["position_ids"] = counted[:, -given.shape[1] :]
    return args, kwargs
