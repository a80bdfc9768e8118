"""Why a model is not stepped as quickly as it could be: what stands in the way."""

from __future__ import annotations

from typing import Any

from imglish.engine import _cross_weights, _fast_weights, _native
from imglish.engine.crossed import crossed
from imglish.engine.fast import lean

OTHERWISE = "its device, its sizes or its precision are others, or torch is as quick on this processor"


def why_plain(model: Any) -> str:
    """Why this model is stepped by transformers' own forward; empty where it is not."""
    if model.config.is_encoder_decoder and crossed(model) is not None:
        return ""
    try:
        if not model.config.is_encoder_decoder:
            _fast_weights.find(model)
            return ""
        _cross_weights.find(model)
    except _fast_weights.NotLean as error:
        return str(error)
    return _native.why_not() or OTHERWISE


def why_not_compiled(model: Any) -> str:
    """Why the steps of this model are not taken by compiled code; empty where they are."""
    if model.config.is_encoder_decoder:
        return why_plain(model)
    stepper = lean(model)
    if stepper is None:
        return why_plain(model)
    return "" if stepper.native is not None else _native.why_not() or OTHERWISE
