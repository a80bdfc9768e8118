"""What results tell of an answer's tokens: the text that each adds, its log-probability, the most probable ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imglish.core.receipts import Token
from imglish.engine.generate import Decoded, detokenize

if TYPE_CHECKING:
    from torch import Tensor

Top = tuple[tuple[int, float], ...]

_UNFINISHED = "\ufffd"  # what a letter is decoded to of which some bytes are missing


def most_probable(logits: Tensor, count: int) -> Top:
    """(token, log-probability in nats) of so many of the most probable of logits (vocab,); none that is forbidden."""
    values, tokens = logits.float().log_softmax(-1).topk(min(count, len(logits)))
    pairs = zip(tokens.tolist(), values.tolist(), strict=True)
    return tuple((token, value) for token, value in pairs if math.isfinite(value))


def tokens_of(tokenizer: Any, row: Decoded) -> tuple[Token, ...]:
    """The tokens of an answer, whose texts make up its text."""
    told: list[Token] = []
    start = done = 0  # the text of ids[start:done] is told, and what comes next is read behind it
    length = 0
    tops = row.top or [()] * len(row.ids)
    for place, (token, logprob, top) in enumerate(zip(row.ids, row.logprobs, tops, strict=True)):
        behind = row.ids[start:place]
        before = detokenize(tokenizer, row.ids[start:done])
        text = detokenize(tokenizer, row.ids[start : place + 1])
        others = tuple(Token(_after(tokenizer, behind, one), value, one) for one, value in top)
        is_last = place == len(row.ids) - 1
        piece = "" if text.endswith(_UNFINISHED) and not is_last else text[len(before) :]
        if not text.endswith(_UNFINISHED):
            start, done = done, place + 1
        if is_last:
            piece = row.text[length:]
        elif not row.text.startswith(piece, length):  # cut within a letter: bytes before it are not letters, either
            piece = ""
        length += len(piece)
        told.append(Token(piece, logprob, token, others))
    return tuple(told)


def _after(tokenizer: Any, behind: Sequence[int], token: int) -> str:
    """The text that a token adds behind others."""
    before, text = detokenize(tokenizer, behind), detokenize(tokenizer, [*behind, token])
    return text[len(before) :] if text.startswith(before) else text[len(before.rstrip(_UNFINISHED)) :]
