"""The JSON of Qwen2.5-VL and Qwen3-VL: as `_prompted` asks for it, but a line of text is called `text_content`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from imglish.core.codecs import Codec
from imglish.core.results import Boxes, Result, TextRegions
from imglish.core.types import Request, Sample, Size
from imglish.families import _prompted
from imglish.families._region_answers import Reading, confidences

_THEIRS, _OURS = '"text_content"', '"text"'
_ITEM = re.compile(r'"bbox_2d"[^\[\]{}]{0,8}\[[^\[\]{}]{0,99}\]')


def written(sample: Sample, codec: Codec, size: Size) -> str:
    """The truth of a sample as these models write it."""
    said = _prompted.written(sample, codec, size)
    return said.replace(f"{_OURS}: ", f"{_THEIRS}: ") if sample.skill == "read" else said


def parse(
    request: Request,
    said: str,
    codec: Codec,
    size: Size,
    *,
    tokens: Sequence[str] | None = None,
    logprobs: Sequence[float] | None = None,
) -> Result:
    """The result that such an answer says. Within a string the quotes of a key would be escaped: no text is changed."""
    if request.skill == "read":
        said = said.replace(_THEIRS, _OURS)
    result = _prompted.parse(request, said, codec, size, tokens=tokens, logprobs=logprobs)
    return surely(result, _ITEM, tokens=tokens, logprobs=logprobs)


def surely(
    result: Result, mark: re.Pattern[str], *, tokens: Sequence[str] | None, logprobs: Sequence[float] | None
) -> Result:
    """The result with the probability of each region's own tokens, where each has left its `mark` in the text."""
    if not isinstance(result, (Boxes, TextRegions)) or tokens is None or logprobs is None or not len(result):
        return result
    sure = Reading("", tokens=tokens, logprobs=logprobs).sureness(mark, len(result))
    return dataclasses.replace(result, confidence=confidences(sure))
