"""What a bridge is made of: the configurations of its parts, and how many tokens an image becomes."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from imglish.core.errors import InputError
from imglish.nn._adapter import Adapter, Grid, pair
from imglish.nn.adapters import build_adapter


class BridgeConfig(PreTrainedConfig):
    """What a bridge is made of. The sub-configurations name their own types, as dicts or as objects.

    `vision_feature_layer` -1 takes the last hidden state, any other number that entry of the hidden states;
    `drop_cls` leaves out the tokens before the patches; `vision_grid` (rows, columns) is needed where the
    vision model's configuration does not tell it; `frame_adapter` makes the tokens of video frames fewer.
    """

    model_type = "imglish_bridge"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="clip_vision_model"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    adapter: str = "mlp"
    adapter_options: dict[str, Any] | None = None
    frame_adapter: str | None = None
    frame_adapter_options: dict[str, Any] | None = None
    image_token_id: int = 0
    vision_feature_layer: int = -1
    drop_cls: bool = False
    vision_grid: list[int] | tuple[int, ...] | None = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        # a whole CLIP or SigLIP was named: its vision half is meant
        self.vision_config = getattr(self.vision_config, "vision_config", self.vision_config)

    @property
    def grid(self) -> Grid:
        """Rows and columns of the tokens that the vision encoder gives for one image."""
        vision: Any = self.vision_config
        if self.vision_grid is not None:
            return pair(self.vision_grid, "vision_grid")
        grid = getattr(vision, "grid", None)
        if grid is not None:
            return pair((grid, grid) if isinstance(grid, int) else grid, "grid")
        image, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
        if image is None or patch is None:
            raise InputError(
                f"the configuration of {vision.model_type!r} does not tell how many tokens an image becomes",
                hint="give vision_grid=(rows, columns)",
            )
        high, wide = (image, image) if isinstance(image, int) else image
        tall, broad = (patch, patch) if isinstance(patch, int) else patch
        return high // tall, wide // broad

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the frame that the vision encoder looks at."""
        size: Any = self.vision_config.image_size  # type: ignore[union-attr]
        return (size, size) if isinstance(size, int) else (size[1], size[0])

    @property
    def image_tokens(self) -> int:
        """Tokens of one image, as the decoder sees it."""
        with torch.device("meta"):
            return build_adapters(self)[0].tokens

    @property
    def frame_tokens(self) -> int:
        """Tokens of one frame of a video; as many as of an image where there is no frame adapter."""
        with torch.device("meta"):
            adapter, frame_adapter = build_adapters(self)
            return (frame_adapter or adapter).tokens


def build_adapters(config: BridgeConfig) -> tuple[Adapter, Adapter | None]:
    """The adapter of a configuration, and its adapter for frames if it has one."""
    vision: Any = config.vision_config
    in_dim = vision.hidden_size if hasattr(vision, "hidden_size") else vision.hidden_sizes[-1]
    out_dim = config.get_text_config().hidden_size
    adapter = build_adapter(config.adapter, in_dim, out_dim=out_dim, grid=config.grid, options=config.adapter_options)
    if config.frame_adapter is None:
        return adapter, None
    options = config.frame_adapter_options
    return adapter, build_adapter(
        config.frame_adapter, out_dim, out_dim=out_dim, grid=adapter.out_grid, options=options
    )
