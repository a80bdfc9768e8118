"""A guide for one JSON document that satisfies a schema: llguidance says what may come next, and a way out is kept.

Near the end of the budget a token is allowed when the document can still be closed after it. That is shown by a way
out that llguidance itself accepts: the rest of the required fields, "N/A" for texts that were not reached, brackets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llguidance import LLMatcher

from imglish.core.errors import InputError
from imglish.engine.guides.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

LARGEST = 65_536  # characters of a schema
DEEPEST = 64
_UNREACHED = b'N/A"'
_LONGEST_WAY = 4096  # tokens; a schema whose shortest document is longer is refused
_EACH, _OTHERS = 96, 256  # as many tokens are tried one by one; of more, text is tried by kind, and so many others
_OPENING = 48  # as many tokens that open something are followed to their end
_OUTSIDE = b'}]n,0123456789"[{tfalsue-.+e: '  # what is tried first outside a string
_SETTINGS: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def compile_schema(schema: Mapping[str, Any]) -> str:
    """The grammar of a schema, for `DocumentGuide`. Raises InputError for one that is too large or too deep."""
    if _depth(schema) > DEEPEST:
        raise InputError(f"the schema is nested more than {DEEPEST} deep")
    text = json.dumps(_closed(schema), ensure_ascii=False)
    if len(text) > LARGEST:
        raise InputError(f"the schema has {len(text)} characters; at most {LARGEST} are read")
    return LLMatcher.grammar_from_json_schema(text, overrides=_SETTINGS)


def _closed(schema: Any) -> Any:
    """The schema as it is meant for a document: what has fields is an object, and has no others unless it says so."""
    if not isinstance(schema, Mapping):
        return schema
    made = dict(schema)
    if _has_fields(schema):
        made.setdefault("type", "object")
        if not any(key in schema for key in ("allOf", "patternProperties")):
            made.setdefault("additionalProperties", False)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(made.get(key), Mapping):
            made[key] = {name: _closed(part) for name, part in made[key].items()}
    for key in ("items", "additionalProperties"):
        made |= {key: _closed(made[key])} if key in made else {}
    for key in ("anyOf", "oneOf", "prefixItems"):
        if isinstance(made.get(key), list):
            made[key] = [_closed(part) for part in made[key]]
    return made


def schema_size(schema: Any) -> int:
    """Characters of all names and of the longest choices in a schema, with what stands around them in a document."""
    if isinstance(schema, Mapping):
        own = sum(len(str(key)) + 12 for key in schema["properties"]) if _has_fields(schema) else 0
        own += max((len(str(choice)) for choice in schema.get("enum") or ()), default=0)
        own += int(schema.get("minLength") or 0)
        times = max(int(schema.get("minItems") or 0), 1)
        return own + times * sum(schema_size(part) for key, part in schema.items() if key != "enum")
    return sum(map(schema_size, schema)) if isinstance(schema, (list, tuple)) else 0


def _has_fields(schema: Mapping[str, Any]) -> bool:
    return isinstance(schema.get("properties"), Mapping)


class DocumentGuide:
    """The guide of one answer; `size` is how many characters the schema's names and choices take, as `schema_size`."""

    def __init__(self, grammar: str, words: Vocabulary, *, size: int) -> None:
        self._words = words
        self._matcher = LLMatcher(words.rust, grammar, log_level=0)
        self._check()
        self.ended = False
        self._text = bytearray()
        self._mask: torch.Tensor | None = None
        self._ways: dict[int, list[int]] = {}
        self._way: list[int] | None = self._way_out(self._matcher, b"")
        letters = sum(len(words.bytes[token]) for token in self._way[:-1])
        self._growth = 8 + size * len(self._way) // max(letters, 1)  # tokens that the way out grows by at most, at once
        self._far = len(self._way) + 2 * self._growth

    @property
    def shortest(self) -> int:
        """Tokens of a short way to the end from here, the end token included."""
        return len(self._known_way())

    def mask(self) -> torch.Tensor | None:
        """(vocab,) bool: what may come next."""
        if self._mask is None:
            self._mask = self._words.end_mask if self._is_over() else self._allowed()
        return self._mask

    def accept(self, token: int) -> None:
        """Advances by a token. Raises InputError for one that the mask forbids."""
        if self.ended or not 0 <= token < self._words.width:
            raise InputError(f"token {token} cannot come next in this answer")
        if token in self._words.ends:
            if not self._is_over() and not self._matcher.is_accepting():
                raise InputError("the document is not complete: the answer cannot end here")
            self.ended, self._mask, self._way = True, None, []
            return
        if self._is_over() or self._matcher.try_consume_tokens([token]) != 1:
            self._check()
            raise InputError(f"token {token} cannot come next in this answer")
        self._text += self._words.bytes[token]
        way = self._way
        if token in self._ways:
            self._way = self._ways[token]
        elif way and way[0] == token:
            self._way = way[1:]
        elif way is None or not self._holds(way):
            self._way = None
        self._mask, self._ways = None, {}

    def forced(self) -> list[int]:
        """Tokens of which there is no choice: names, quotes, brackets."""
        return [] if self._is_over() else list(self._matcher.compute_ff_tokens())

    def closing(self, left: int) -> torch.Tensor | None:
        """As `mask`, only tokens after which the answer can end within `left` tokens."""
        mask = self.mask()
        if mask is None or left > self._far or self._is_over():
            return mask
        way = self._known_way()
        if left > len(way) + self._growth:
            return mask
        closing = mask & self._words.end_mask
        open_ended = mask & ~self._words.end_mask
        if int(open_ended.sum()) > _EACH:
            closing |= self._of_kinds(open_ended, way, left)
        else:
            for token in self._of_these(open_ended.nonzero().flatten().tolist(), way, left):
                closing[token] = True
        if len(way) <= left or not closing.any():
            closing[way[0]] = True
        return closing

    def fork(self) -> DocumentGuide:
        """A guide in the same state."""
        made = DocumentGuide.__new__(DocumentGuide)
        made.__dict__.update(self.__dict__)
        made._matcher, made._text, made._ways = self._matcher.deep_copy(), bytearray(self._text), dict(self._ways)
        return made

    def _is_over(self) -> bool:
        return self.ended or bool(self._matcher.is_stopped())

    def _check(self) -> None:
        """Turns any error of the matcher into a refusal; its own account of it is a dump, of which one line is told."""
        if self._matcher.is_error():
            told = str(self._matcher.get_error()).strip().splitlines() or ["no reason given"]
            raise InputError(
                f"this schema cannot be followed: {told[0][:200]}",
                hint="types, enums, bounds, lengths, arrays, objects, anyOf and local $refs that end are followed",
            )

    def _allowed(self) -> torch.Tensor:
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little", count=self._words.width).astype(bool))
        allowed[len(self._words.bytes) :] = False
        if self._matcher.is_accepting():
            allowed |= self._words.end_mask
        else:
            allowed &= ~self._words.end_mask
        if not allowed.any():
            raise InputError("this schema cannot be followed: nothing can come next")
        return allowed

    def _known_way(self) -> list[int]:
        if self._way is None:
            self._way = self._way_out(self._matcher, bytes(self._text))
        return self._way

    def _holds(self, way: Sequence[int], after: Sequence[int] = ()) -> bool:
        """Whether a way out can be written from here, or after more tokens, and the document is whole then."""
        tokens = [*after, *way[:-1]]
        if self._matcher.validate_tokens(tokens) != len(tokens):
            return False
        copy = self._matcher.deep_copy()
        return bool(copy.try_consume_tokens(tokens) == len(tokens) and (copy.is_stopped() or copy.is_accepting()))

    def _of_these(self, candidates: Sequence[int], way: list[int], left: int) -> list[int]:
        """Those of few tokens after which the document can be closed in time."""
        found: list[int] = []
        opening: list[int] = []
        for token in candidates:
            kept = self._kept_way(token, way)
            if kept is None:
                opening.append(token)
            elif len(kept) < left:
                found.append(token)
                self._ways[token] = kept
        for token in opening[:_OPENING]:
            copy = self._matcher.deep_copy()
            copy.consume_token(token)
            try:
                followed = self._way_out(copy, bytes(self._text) + self._words.bytes[token])
            except InputError:
                continue
            if len(followed) < left:
                found.append(token)
                self._ways[token] = followed
        return found

    def _kept_way(self, token: int, way: list[int]) -> list[int] | None:
        """The known way out, or the end of it, where it still leads out after the token."""
        for start in (0, 1, 2, 3):
            if start < len(way) and self._holds(way[start:], [token]):
                return way[start:]
        return None

    def _of_kinds(self, candidates: torch.Tensor, way: list[int], left: int) -> torch.Tensor:
        """Of very many tokens we are within a text: pieces of text are alike, one of each length stands for all."""
        allowed = torch.zeros_like(candidates)
        letters = torch.where(candidates, self._words.letters, 0)
        for count in letters.unique().tolist():
            alike = letters == count
            kept = self._kept_way(int(alike.int().argmax()), way) if count else None
            if kept is not None and len(kept) < left:
                allowed |= alike
        order = self._words.shortest_first
        for token in order[(candidates & (letters == 0))[order]][:_OTHERS].tolist():
            kept = self._kept_way(token, way)
            if kept is not None and len(kept) < left:
                allowed[token] = True
                self._ways[token] = kept
        return allowed

    def _way_out(self, matcher: LLMatcher, text: bytes) -> list[int]:
        """Tokens that close the document after `text`, with the end token. Raises InputError where none are found."""
        copy, turn = matcher.deep_copy(), 0
        way: list[int] = []
        while not (copy.is_stopped() or copy.is_accepting()):
            tokens = list(copy.compute_ff_tokens())
            if not tokens:
                tokens = self._next_step(copy, text, turn)
                turn += 1
            if not tokens or copy.try_consume_tokens(tokens) != len(tokens) or len(way) > _LONGEST_WAY:
                self._check()
                raise InputError(
                    "this schema cannot be followed: no short document satisfies it",
                    hint="a schema that contains itself needs a field that may be left out or null",
                )
            way += tokens
            text += b"".join(self._words.bytes[token] for token in tokens)
        return [*way, self._words.ends[0]]

    def _next_step(self, matcher: LLMatcher, text: bytes, turn: int) -> list[int]:
        """What is written next to come to an end soon."""
        inside, begun = _in_string(text)
        if inside and not begun:
            unreached = self._words.greedy(_UNREACHED)
            if matcher.validate_tokens(unreached) == len(unreached):
                return unreached
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        order = b'"' if inside else _OUTSIDE
        for byte in order:
            token = self._words.by_text.get(bytes([byte]))
            if token is not None and bits[token]:
                return [token]
        single = [token for data, token in self._words.by_text.items() if len(data) == 1 and bits[token]]
        single.sort(key=lambda token: (not self._words.bytes[token].isalnum(), self._words.bytes[token]))
        return [single[turn % len(single)]] if single else []


def _in_string(text: bytes) -> tuple[bool, bool]:
    """(whether the JSON text ends within a string, whether something of that string is written)."""
    inside, start, place = False, 0, 0
    while place < len(text):
        if inside and text[place] == 0x5C:
            place += 1
        elif text[place] == 0x22:
            inside, start = not inside, place + 1
        place += 1
    return inside, inside and place > start


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting and deepest <= DEEPEST:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = one.values() if isinstance(one, Mapping) else one if isinstance(one, (list, tuple)) else ()
        waiting += [(part, depth + 1) for part in inner]
    return deepest
