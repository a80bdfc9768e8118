"""Models of our own: encoder, adapters, the bridge and its processor, made known to transformers' Auto classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

from imglish.nn.bridge import Bridge
from imglish.nn.config import BridgeConfig
from imglish.nn.encoders import Sight, SightConfig

AutoConfig.register(SightConfig.model_type, SightConfig, exist_ok=True)
AutoModel.register(SightConfig, Sight, exist_ok=True)
AutoConfig.register(BridgeConfig.model_type, BridgeConfig, exist_ok=True)
AutoModelForCausalLM.register(BridgeConfig, Bridge, exist_ok=True)
AutoModelForImageTextToText.register(BridgeConfig, Bridge, exist_ok=True)

__all__ = ["Bridge", "BridgeConfig", "Sight", "SightConfig"]
