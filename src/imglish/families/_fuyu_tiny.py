"""The tokenizer of the small Fuyu: bytes, and each number below 1000 as one token, as in the published vocabulary."""

from __future__ import annotations

import json
from typing import Any

from imglish.families._fuyu_text import SPECIAL_TOKENS
from imglish.families._tiny import tiny_tokenizer


def tokenizer() -> Any:
    """256 bytes, the controls, then 10 to 999: digits next to each other merge from the left."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    plain = tiny_tokenizer(("<unk>", "</s>", *SPECIAL_TOKENS), bos="<s>", eos="|ENDOFTEXT|", pad="<unk>")
    told = json.loads(plain.backend_tokenizer.to_str())
    model, first = told["model"], len(plain)
    for number in range(10, 1000):
        model["vocab"][str(number)] = first + number - 10
        model["merges"].append([str(number)[:-1], str(number)[-1]])
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(told)), bos_token="<s>", eos_token="|ENDOFTEXT|",
        pad_token="<unk>", padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip
