"""A model's tokens as bytes, made once per model: what every guide walks over."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from imglish.core.errors import InputError
from imglish.families._base import Loaded

_KEPT = "_vocabulary"  # under which name it stays with the loaded model


class Vocabulary:
    """The tokens of a model: which bytes each is, which are special, which end an answer.

    `width`: of the model's logits; ids from the tokenizer's last one on are never written. Tokenizers of every family
    are read through llguidance, which knows byte-level and byte-fallback vocabularies.
    """

    def __init__(self, tokenizer: Any, *, width: int, ends: list[int]) -> None:
        import llguidance.hf

        if not ends:
            raise InputError("this model's vocabulary has no token that ends an answer")
        self.width, self.ends = width, ends
        count = min(len(tokenizer), width)
        self.rust = llguidance.hf.from_tokenizer(tokenizer, n_vocab=max(width, len(tokenizer)), eos_token=ends)
        added = tokenizer.added_tokens_decoder
        self._known = {**tokenizer.get_vocab(), **{str(token): number for number, token in added.items()}}
        powerful = {number for number, token in added.items() if token.special} | set(ends)
        self.bytes = [b"" if n in powerful else self.rust.decode_bytes([n]) for n in range(count)]
        self.by_text: dict[bytes, int] = {}
        for number, text in enumerate(self.bytes):
            if text:
                self.by_text.setdefault(text, number)
        self._holding: dict[bytes, list[int]] = {}
        self.longest = max(map(len, self.by_text), default=0)
        self._by_first = self._columns()
        self.end_mask = torch.zeros(width, dtype=torch.bool)
        self.end_mask[ends] = True

    def id(self, token: str) -> int | None:
        """The id of a token by its name."""
        found = self._known.get(token)
        return None if found is None or found >= self.width else int(found)

    def _columns(self) -> dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """By first byte: (ids, bytes (n, longest), lengths) of the tokens that begin with it, longest first."""
        groups: dict[int, list[int]] = {}
        for number, text in enumerate(self.bytes):
            if text:
                groups.setdefault(text[0], []).append(number)
        columns = {}
        for first, ids in groups.items():
            ids.sort(key=lambda number: -len(self.bytes[number]))
            lengths = np.array([len(self.bytes[number]) for number in ids])
            table = np.zeros((len(ids), lengths[0]), dtype=np.uint8)
            for row, number in enumerate(ids):
                table[row, : lengths[row]] = np.frombuffer(self.bytes[number], dtype=np.uint8)
            columns[first] = (np.array(ids), table, lengths)
        return columns

    def beginning(self, first: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
        """(ids, bytes, lengths) of the tokens whose first byte this is, longest first; None where there are none."""
        return self._by_first.get(first)

    def holding(self, text: bytes) -> list[int]:
        """The ids of all tokens that have the text in them."""
        if text not in self._holding:
            self._holding[text] = [number for number, data in enumerate(self.bytes) if text in data]
        return self._holding[text]

    @cached_property
    def letters(self) -> torch.Tensor:
        """(width,) how many letters each token has that is whole letters of a text and nothing else; 0 for others."""
        counts = [_letters(data) for data in self.bytes]
        return torch.tensor(counts + [0] * (self.width - len(counts)))

    @cached_property
    def shortest_first(self) -> torch.Tensor:
        """(width,) ids of all tokens, those of few bytes first."""
        sizes = [len(data) for data in self.bytes]
        return torch.tensor(sizes + [0] * (self.width - len(sizes))).argsort(stable=True)

    def greedy(self, text: bytes) -> list[int]:
        """The text in the longest tokens that fit, from its start on. Raises InputError for a byte without a token."""
        ids: list[int] = []
        place = 0
        while place < len(text):
            for length in range(min(self.longest, len(text) - place), 0, -1):
                token = self.by_text.get(text[place : place + length])
                if token is not None:
                    break
            else:
                raise InputError(f"this model's vocabulary has no token for {text[place : place + 1]!r}")
            ids.append(token)
            place += length
        return ids


def _letters(data: bytes) -> int:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return 0
    return len(text) if text.isprintable() and '"' not in text and "\\" not in text else 0


def vocabulary(loaded: Loaded) -> Vocabulary:
    """The vocabulary of a loaded model; it stays with it."""
    found = loaded.extra.get(_KEPT)
    if isinstance(found, Vocabulary):
        return found
    settings = loaded.model.generation_config.eos_token_id
    known = {settings} if isinstance(settings, int) else set(settings or ())
    own = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.stop))
    width = _width(loaded)
    ends = sorted(token for token in known | set(own) if token is not None and token < width)
    made = loaded.extra[_KEPT] = Vocabulary(loaded.tokenizer, width=width, ends=ends)
    return made


def _width(loaded: Loaded) -> int:
    head = loaded.model.get_output_embeddings()
    if head is not None and hasattr(head, "weight"):
        return int(head.weight.shape[0])
    return int(loaded.model.config.get_text_config().vocab_size)
