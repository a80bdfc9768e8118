"""MiniGPT-v2 (Chen et al. 2023, arXiv:2310.09478): EVA ViT-g, four neighbours side by side, linear, Llama-2.

It is a bridge of parts that transformers has: `Blip2VisionModel` is the same EVA ViT-g (with its last layer left out,
as BLIP-2 does), and the adapter `concat` with windows of 1 x 4 is the reference's
`view(images, tokens / 4, width * 4)`. Weights are named `vision.*`, `adapter.project.*` and `decoder.*`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, AutoModel, Blip2VisionConfig, Blip2VisionModel
from transformers.configuration_utils import SubConfigSpec

from imglish.nn.bridge import Bridge
from imglish.nn.config import BridgeConfig

AutoModel.register(Blip2VisionConfig, Blip2VisionModel, exist_ok=True)


class MiniGPTv2Config(BridgeConfig):
    """The sizes of the published model where nothing else is said.

    `image_token_id` 0 is `<unk>`: Llama neither reads nor writes it, so its vocabulary need not grow for images.
    `norm_eps` is that of the LayerNorm after the encoder, which differs from the encoder's own. `lora_alpha` is used
    where weights with LoRA parts are read: the rank is that of the parts.
    """

    model_type = "minigpt_v2"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="blip_2_vision_model", init_kwargs={"image_size": 448}
        ),
        "text_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="llama",
            init_kwargs={"rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
        ),
    }

    adapter: str = "concat"
    drop_cls: bool = True
    norm_eps: float = 1e-5
    lora_alpha: float = 16.0

    def __post_init__(self, **kwargs: Any) -> None:
        if self.adapter_options is None:
            self.adapter_options = {"window": [1, 4]}
        super().__post_init__(**kwargs)


class MiniGPTv2(Bridge):
    """The whole model as one causal language model."""

    config_class = MiniGPTv2Config
    config: MiniGPTv2Config

    def __init__(self, config: MiniGPTv2Config) -> None:
        super().__init__(config)
        self.vision.post_layernorm.eps = config.norm_eps


AutoConfig.register(MiniGPTv2Config.model_type, MiniGPTv2Config, exist_ok=True)
