"""A vision-language model made of parts: a vision encoder, an adapter and a causal language model.

Encoder and decoder are any that transformers has (or our own encoder); what the adapter makes of an image takes
the place of the embeddings of the image token.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
    initialization,
)
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from imglish.core.errors import InputError
from imglish.nn.config import BridgeConfig, build_adapters
from imglish.nn.resampler import Resampler


class Bridge(PreTrainedModel, GenerationMixin):
    """Vision encoder, adapter and decoder as one causal language model.

    Images of a whole batch are handed over flat, in reading order: the first row's images first.
    """

    config_class = BridgeConfig
    config: BridgeConfig
    generation_config: Any
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = "past_key_values"

    def __init__(self, config: BridgeConfig) -> None:
        super().__init__(config)
        dtype = torch.get_default_dtype()  # of the parts together, whatever each was saved in
        self.vision = AutoModel.from_config(config.vision_config, dtype=dtype)
        self.adapter, self.frame_adapter = build_adapters(config)
        self.decoder = AutoModelForCausalLM.from_config(config.text_config, dtype=dtype)
        self._takes_positions = "position_ids" in inspect.signature(self.decoder.forward).parameters
        self.post_init()
        self._hold_back_image_token()

    @classmethod
    def from_parts(
        cls, vision: PreTrainedModel, decoder: PreTrainedModel, *, image_token_id: int, **options: Any
    ) -> Bridge:
        """A bridge around two models that exist, with a new adapter; `options` are those of BridgeConfig."""
        config = BridgeConfig(
            vision_config=copy.deepcopy(vision.config),
            text_config=copy.deepcopy(decoder.config),
            image_token_id=image_token_id,
            **options,
        )
        with torch.device("meta"):
            bridge = cls(config)
        bridge.adapter, bridge.frame_adapter = build_adapters(config)
        for module in (*bridge.adapter.modules(), *(bridge.frame_adapter.modules() if bridge.frame_adapter else ())):
            bridge._init_weights(module)
        bridge.vision, bridge.decoder = vision, decoder
        bridge.generation_config = copy.deepcopy(decoder.generation_config)
        bridge._hold_back_image_token()
        return bridge

    def encode_images(self, pixel_values: Tensor, frame_mask: Tensor | None = None) -> list[Tensor]:
        """Features (tokens, hidden) of every image; those that `frame_mask` (images,) marks are frames of a video.

        They depend on the image alone, so they can be kept and given again as `image_features`.
        """
        layer = self.config.vision_feature_layer
        pixel_values = pixel_values.to(self.vision.dtype)
        if layer == -1:
            hidden = self.vision(pixel_values=pixel_values, return_dict=True).last_hidden_state
        else:
            seen = self.vision(pixel_values=pixel_values, output_hidden_states=True, return_dict=True)
            hidden = seen.hidden_states[layer]
        if hidden.dim() == 4:  # a convolutional encoder gives (images, channels, rows, columns)
            hidden = hidden.flatten(2).transpose(1, 2)
        if self.config.drop_cls:
            hidden = hidden[:, 1 + getattr(self.config.vision_config, "num_register_tokens", 0) :]
        features = self.adapter(hidden)
        if frame_mask is None or self.frame_adapter is None:
            return list(features)
        if frame_mask.shape != features.shape[:1]:
            raise InputError(f"frame_mask has the shape {tuple(frame_mask.shape)} for {len(features)} images")
        is_frame = frame_mask.to(device=features.device, dtype=torch.bool)
        rows, columns = self.adapter.out_grid  # what an adapter adds to its grid is not of frames
        frames = iter(self.frame_adapter(features[is_frame][:, : rows * columns]))
        return [next(frames) if frame else image for image, frame in zip(features, is_frame.tolist(), strict=True)]

    def embed(self, input_ids: Tensor, image_features: Tensor | Sequence[Tensor] | None = None) -> Tensor:
        """Embeddings (batch, length, hidden), features in the places of the image token, in reading order.

        Raises InputError with both counts where there are not as many features as places.
        """
        places = input_ids.eq(self.config.image_token_id)
        # the image token may lie beyond the decoder's vocabulary: it is never looked up
        embeddings: Tensor = self.get_input_embeddings()(input_ids.masked_fill(places, 0))
        flat = _flat(image_features)
        found, given = int(places.sum()), 0 if flat is None else len(flat)
        if found != given:
            raise InputError(
                f"the text has {found} image tokens, and the images give {given} features",
                hint="let the processor expand the placeholders, and pass all images of the batch in reading order",
            )
        if flat is None:
            return embeddings
        return embeddings.masked_scatter(places[..., None], flat.to(embeddings))

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        frame_mask: Tensor | None = None,
        image_features: Tensor | Sequence[Tensor] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """`attention_mask` is (batch, all tokens so far), or ready made and additive (batch, 1, queries, keys)."""
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("exactly one of input_ids and inputs_embeds is given")
        if inputs_embeds is None:
            assert input_ids is not None
            if pixel_values is not None and image_features is None:
                image_features = self.encode_images(pixel_values, frame_mask)
            inputs_embeds = self.embed(input_ids, image_features)
        if position_ids is None and attention_mask is not None and attention_mask.dim() == 2:
            position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        if self._takes_positions:
            kwargs["position_ids"] = position_ids
        output = self.decoder(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **kwargs,
        )
        return CausalLMOutputWithPast(
            loss=output.loss,
            logits=output.logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Images go in with the prompt, and never again."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, **kwargs)
        if not kwargs.get("is_first_iteration", False) and kwargs.get("use_cache", True):
            for name in ("pixel_values", "frame_mask", "image_features"):
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Beams and several answers per prompt: images are encoded once, then repeated row by row with their text."""
        expanded: tuple[Tensor, dict[str, Any]]
        if expand_size == 1 or input_ids is None:
            expanded = super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **kwargs)
            return expanded
        pixels, frames = kwargs.pop("pixel_values", None), kwargs.pop("frame_mask", None)
        flat = _flat(kwargs.pop("image_features", None))
        if flat is None and pixels is not None:
            flat = _flat(self.encode_images(pixels, frames))
        if flat is not None:
            self.embed(input_ids, flat)  # the counts must agree before they are split
            rows = flat.split((input_ids == self.config.image_token_id).sum(1).tolist())
            flat = torch.cat([row for row in rows for _ in range(expand_size)])
        expanded = super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **kwargs)
        return expanded if flat is None else (expanded[0], {**expanded[1], "image_features": flat})

    def get_input_embeddings(self) -> Any:
        return self.decoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.decoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> Any:
        return self.decoder.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.decoder.set_output_embeddings(value)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Resampler):
            initialization.normal_(module.queries, mean=0.0, std=self.config.initializer_range)

    def _hold_back_image_token(self) -> None:
        """An image token is never an answer; after one, the count of features would not agree."""
        if self.generation_config is None:
            self.generation_config = GenerationConfig.from_model_config(self.config)
        held: Iterable[int] = self.generation_config.suppress_tokens or ()
        self.generation_config.suppress_tokens = sorted({*held, self.config.image_token_id})


def _flat(features: Tensor | Sequence[Tensor] | None) -> Tensor | None:
    """Features of all images as (tokens, hidden), from a list, from (images, tokens, hidden), or as they are."""
    if features is None:
        return None
    if isinstance(features, Tensor):
        return features.flatten(0, -2) if features.dim() > 2 else features
    return torch.cat([_flat(item) for item in features]) if len(features) else None  # type: ignore[misc]
