"""Models of our own: encoder, adapters, the bridge and its processor, made known to transformers' Auto classes."""

from __future__ import annotations

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from imglish.nn.bridge import Bridge
from imglish.nn.config import BridgeConfig
from imglish.nn.encoders import Sight, SightConfig
from imglish.nn.processor import BridgeProcessor, LetterboxProcessor

AutoConfig.register(SightConfig.model_type, SightConfig, exist_ok=True)
AutoModel.register(SightConfig, Sight, exist_ok=True)
AutoConfig.register(BridgeConfig.model_type, BridgeConfig, exist_ok=True)
AutoModelForCausalLM.register(BridgeConfig, Bridge, exist_ok=True)
AutoModelForImageTextToText.register(BridgeConfig, Bridge, exist_ok=True)
AutoImageProcessor.register(BridgeConfig, image_processor_classes={"pil": LetterboxProcessor}, exist_ok=True)
AutoProcessor.register(BridgeConfig, BridgeProcessor, exist_ok=True)

__all__ = ["Bridge", "BridgeConfig", "BridgeProcessor", "LetterboxProcessor", "Sight", "SightConfig"]
