"""Phi-3-vision in torch: transformers' Phi-3 decoder with a CLIP encoder and the HD projector (arXiv:2404.14219).

transformers has no such model. Names of modules are those of the published weights, so that they load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, GenerationMixin, Phi3Config, Phi3ForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.phi3.modeling_phi3 import Phi3Model, Phi3PreTrainedModel, Phi3RotaryEmbedding

from imglish.core.errors import CheckpointError, InputError

# What the reference builds whatever the config says: openai/clip-vit-large-patch14-336.
CLIP_L_336: dict[str, Any] = {
    "hidden_act": "quick_gelu", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
    "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
}  # fmt: skip


@strict
class Phi3VConfig(Phi3Config):
    """The published config.json, read as it is; `vision_config` is ours, for encoders other than CLIP-L/14-336."""

    model_type = "phi3_v"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": CLIPVisionConfig}

    embd_layer: dict[str, Any] | str | None = None
    img_processor: dict[str, Any] | None = None
    vision_config: Any = None
    image_token_id: int = 32044  # <|image|>, which the published vocabulary has and the reference never uses

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("_attn_implementation", None)  # the published one asks for flash attention, installed or not
        self.embd_layer = self.embd_layer or {"hd_transform_order": "sub_glb", "projection_cls": "mlp"}
        self.img_processor = self.img_processor or {"name": "clip_vision_model"}
        order = self.embd_layer.get("hd_transform_order") if isinstance(self.embd_layer, dict) else None
        if order != "sub_glb" or self.img_processor.get("name") != "clip_vision_model":
            raise CheckpointError(
                f"embd_layer is {self.embd_layer!r} and img_processor {self.img_processor!r}; "
                "Phi-3-vision and Phi-3.5-vision have a CLIP encoder and the order sub_glb"
            )
        if not isinstance(self.vision_config, CLIPVisionConfig):
            self.vision_config = CLIPVisionConfig(**(self.vision_config or CLIP_L_336))
        super().__post_init__(**kwargs)

    def convert_rope_params_to_dict(self, *arguments: Any, **kwargs: Any) -> Any:
        """The scaling that is published as `su` is called `longrope` now."""
        scaling = kwargs.get("rope_scaling")
        if scaling is not None:
            kind = scaling.get("rope_type") or scaling.get("type")
            if kind not in ("su", "longrope"):
                raise CheckpointError(f"rope_scaling has the type {kind!r}; Phi-3-vision has su or longrope")
            kept = {name: value for name, value in scaling.items() if name != "type"}
            longer = self.max_position_embeddings / self.original_max_position_embeddings
            kwargs["rope_scaling"] = {**kept, "rope_type": "longrope", "factor": longer}
        return super().convert_rope_params_to_dict(*arguments, **kwargs)


class RowwiseRotaryEmbedding(Phi3RotaryEmbedding):
    """Long or short frequencies for each row by its own length, so that no row depends on the batch it is in."""

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin (rows, length, head size)."""
        short: Tensor = self.original_inv_freq.to(x.device, torch.float32)
        frequencies = short.expand(len(position_ids), 1, -1)
        if self.rope_type == "longrope":
            bound = self.config.rope_parameters["original_max_position_embeddings"]
            is_long = position_ids.amax(1) >= bound  # as the reference: longer than what it was first trained on
            long, _ = ROPE_INIT_FUNCTIONS["longrope"](self.config, x.device, seq_len=bound + 1)
            frequencies = torch.where(is_long[:, None, None], long, short)
        angles = position_ids[..., None].float() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        scale = self.attention_scaling
        return (angles.cos() * scale).to(x.dtype), (angles.sin() * scale).to(x.dtype)


class HDProjector(nn.Module):
    """From tiles of an image to embeddings: 2 x 2 patches become one, each row of them ends with a separator."""

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__()
        width = 4 * config.vision_config.hidden_size
        self.depth = config.vision_config.num_hidden_layers + 1 + (config.img_processor or {}).get("layer_idx", -2)
        self.tile = config.vision_config.image_size
        self.img_processor = CLIPVisionModel(config.vision_config)
        self.glb_GN = nn.Parameter(torch.zeros(1, 1, width))
        self.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.img_projection = nn.Sequential(
            nn.Linear(width, config.hidden_size), nn.GELU(), nn.Linear(config.hidden_size, config.hidden_size)
        )

    def forward(self, pixel_values: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """Features (tokens, hidden) of every image.

        `image_sizes` (images, 2) are height and width of the tiled image; `pixel_values` (tiles, 3, side, side) are,
        for one image after the other, the whole image in one tile and then its tiles row by row.
        """
        grids = (image_sizes // self.tile).tolist()
        counts = [1 + rows * columns for rows, columns in grids]
        if sum(counts) != len(pixel_values):
            raise InputError(f"image_sizes tell of {sum(counts)} tiles, and pixel_values has {len(pixel_values)}")
        patches = self._patches(pixel_values.to(self.img_processor.dtype))
        lines = []
        for tiles, (rows, columns) in zip(patches.split(counts), grids, strict=True):
            lines.append(torch.cat((self._rows(tiles[1:], rows, columns), self.glb_GN[0], self._rows(tiles[:1], 1, 1))))
        lengths = [len(line) for line in lines]
        return list(self.img_projection(torch.cat(lines)).split(lengths))

    def _patches(self, pixel_values: Tensor) -> Tensor:
        """The encoder's last layer but one, without the class token; what comes after it is not run."""
        hidden = self.img_processor.pre_layrnorm(self.img_processor.embeddings(pixel_values))
        for layer in self.img_processor.encoder.layers[: self.depth]:
            hidden = layer(hidden, attention_mask=None)
        return hidden[:, 1:]

    def _rows(self, tiles: Tensor, rows: int, columns: int) -> Tensor:
        """Merged patches of a grid of tiles in reading order, `sub_GN` after each row: (tokens, 4 x width)."""
        half = math.isqrt(tiles.shape[1]) // 2
        grid = tiles.reshape(rows, columns, half, 2, half, 2, -1).permute(0, 2, 1, 4, 3, 5, 6)
        grid = grid.reshape(rows * half, columns * half, -1)
        return torch.cat((grid, self.sub_GN[0].expand(len(grid), 1, -1)), dim=1).flatten(0, 1)


class Phi3VModel(Phi3Model):
    """The decoder, with the projector under the name that the published weights have for it."""

    config_class = Phi3VConfig

    def __init__(self, config: Phi3VConfig) -> None:
        super().__init__(config)
        self.rotary_emb = RowwiseRotaryEmbedding(config=config)
        self.vision_embed_tokens = HDProjector(config)
        self.post_init()


class Phi3VForCausalLM(Phi3ForCausalLM):
    """Phi-3-vision and Phi-3.5-vision. Images of a whole batch are handed over flat, in reading order."""

    config_class = Phi3VConfig
    config: Phi3VConfig
    input_modalities = ("image", "text")
    _no_split_modules: ClassVar[list[str]] = ["Phi3DecoderLayer", "CLIPEncoderLayer"]

    def __init__(self, config: Phi3VConfig) -> None:
        Phi3PreTrainedModel.__init__(self, config)  # not Phi3ForCausalLM's: it would build the decoder twice
        self.model = Phi3VModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def embed(self, input_ids: Tensor, features: Sequence[Tensor] | None) -> Tensor:
        """Embeddings (batch, length, hidden), features in the places of the image token, in reading order."""
        embeddings: Tensor = self.model.embed_tokens(input_ids)
        if not features:
            return embeddings
        places = input_ids == self.config.image_token_id
        flat = torch.cat(list(features))
        if int(places.sum()) != len(flat):
            raise InputError(
                f"the text has {int(places.sum())} image tokens, and the images give {len(flat)} features",
                hint="let the family's `inputs` make the tensors, and pass all images of the batch in reading order",
            )
        return embeddings.masked_scatter(places[..., None], flat.to(embeddings))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_sizes: Tensor | None = None,
        image_features: Sequence[Tensor] | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """`pixel_values` and `image_sizes` as HDProjector takes them; `image_features` is what it made of them."""
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("exactly one of input_ids and inputs_embeds is given")
        if inputs_embeds is None:
            assert input_ids is not None
            if pixel_values is not None and image_features is None:
                image_features = self.model.vision_embed_tokens(pixel_values, image_sizes)
            inputs_embeds = self.embed(input_ids, image_features)
        if position_ids is None and attention_mask is not None and attention_mask.dim() == 2:
            position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        return super().forward(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, position_ids=position_ids, **kwargs
        )

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Images go in with the prompt, and once more where an answer crosses from short to long frequencies.

        There every cached key has the wrong angle, and the whole text is read again.
        """
        first = bool(kwargs.get("is_first_iteration")) or not kwargs.get("use_cache", True)
        mask = kwargs.get("attention_mask")
        length = mask.sum(1) if mask is not None else torch.tensor([input_ids.shape[1]])
        bound = self.config.rope_parameters.get("original_max_position_embeddings", -1)
        if not first and bool((length == bound + 1).any()):
            first, kwargs = True, {**kwargs, "past_key_values": None, "next_sequence_length": None}
            kwargs.pop("position_ids", None)
        images = {name: kwargs.pop(name, None) for name in ("pixel_values", "image_sizes", "image_features")}
        inputs: dict[str, Any] = GenerationMixin.prepare_inputs_for_generation(self, input_ids, **kwargs)
        return {**inputs, **images} if first else inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Several answers per prompt: images are encoded once, and repeated row by row with their text."""
        pixels, sizes = kwargs.get("pixel_values"), kwargs.get("image_sizes")
        if expand_size > 1 and input_ids is not None and pixels is not None:
            kwargs.update(pixel_values=None, image_sizes=None)
            flat = torch.cat(self.model.vision_embed_tokens(pixels, sizes))
            rows = flat.split((input_ids == self.config.image_token_id).sum(1).tolist())
            kwargs["image_features"] = [row for row in rows for _ in range(expand_size)]
        expanded: tuple[Tensor, dict[str, Any]] = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **kwargs
        )
        return expanded
