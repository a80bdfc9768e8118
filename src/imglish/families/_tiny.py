"""What `tiny()` models are made of: a real byte-level tokenizer without merges, and the processor around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class HubProcessor:
    """A tokenizer and an image processor as their checkpoint has them, saved and loaded together."""

    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        self.tokenizer, self.image_processor = tokenizer, image_processor

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes tokenizer and preprocessor_config.json."""
        self.tokenizer.save_pretrained(folder)
        if self.image_processor is not None:
            self.image_processor.save_pretrained(folder)


def tiny_tokenizer(
    special_tokens: Sequence[str],
    *,
    eos: str,
    bos: str | None = None,
    pad: str | None = None,
    unk: str | None = None,
    frame: tuple[Sequence[str], Sequence[str]] = ((), ()),
    plain: Sequence[str] = (),
) -> Any:
    """A fast tokenizer of 256 bytes and `special_tokens`, in that order of ids; any text encodes and decodes exactly.

    `frame`: tokens that `tokenizer(text)` puts before and after every text. `plain`: added tokens without power.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    before, after = frame
    if before or after:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in {*before, *after}],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=pad or eos, unk_token=unk,
        padding_side="left", clean_up_tokenization_spaces=False,
    )  # fmt: skip


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Random weights that are the same each time, without touching anybody else's randomness."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
