"""A guide that runs a grammar over bytes and special tokens: exact masks, and always a known way to the end.

States are numbered as they are met. A table says where each byte leads from each state, so that a mask is found by
walking all tokens at once, column by column; masks are kept by state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from imglish.core.errors import InputError
from imglish.engine.guides.program import Program, State, compile_grammar
from imglish.engine.guides.vocabulary import Vocabulary
from imglish.families._grammar import Node

_DEAD, _UNKNOWN = -1, -2
_MOST_STATES = 20_000  # a table of 256 numbers for each; beyond it everything is forgotten and met again
_FEW = 128
_FORCED = 64  # tokens that are given at once


@dataclass
class Next:
    """What may follow one state."""

    ids: Any  # (n,) ids of tokens that are text
    states: Any  # (n,) numbers of the states they lead to
    special: list[int]  # ids of special tokens; where they lead is found when one is taken
    ends: bool
    mask: torch.Tensor | None = None  # kept where many tokens may follow; of few it is made anew, for numbers are many


@dataclass
class Automaton:
    """A grammar over one vocabulary. Many guides share it; it only learns."""

    program: Program
    words: Vocabulary
    states: list[State] = field(default_factory=list)
    numbers: dict[State, int] = field(default_factory=dict)
    table: Any = None
    nexts: dict[int, Next] = field(default_factory=dict)
    ways: dict[int, list[int]] = field(default_factory=dict)
    generation: int = 0

    def number(self, state: State) -> int:
        """The number of a state; -1 for the one that nothing can come of."""
        if not state:
            return _DEAD
        found = self.numbers.get(state)
        if found is None:
            found = self.numbers[state] = len(self.states)
            self.states.append(state)
            if self.table is None or found >= len(self.table):
                more = np.full((max(64, found), 256), _UNKNOWN, dtype=np.int32)
                self.table = more if self.table is None else np.concatenate((self.table, more))
        return found

    def forget(self) -> None:
        """Forgets all states when they are too many."""
        if len(self.states) > _MOST_STATES:
            self.states, self.numbers, self.table = [], {}, None
            self.nexts, self.ways, self.generation = {}, {}, self.generation + 1

    def after(self, number: int) -> Next:
        """The tokens that may follow a state. End tokens are not among them."""
        found = self.nexts.get(number)
        if found is None:
            found = self.nexts[number] = self._after(number)
        return found

    def _after(self, number: int) -> Next:
        ids: list[Any] = [np.zeros(0, dtype=np.int64)]
        states: list[Any] = [np.zeros(0, dtype=np.int64)]
        for first in sorted(self.program.first_bytes(self.states[number])):
            group = self.words.beginning(first)
            if group is None:
                continue
            tokens, columns, lengths = group
            now = np.full(len(tokens), self.step(number, first), dtype=np.int64)
            for place in range(1, columns.shape[1]):
                longer = int(np.searchsorted(-lengths, -place, side="left"))  # tokens with more bytes than `place`
                alive = np.flatnonzero(now[:longer] != _DEAD)
                if not len(alive):
                    break
                now[alive] = self._walk(now[alive], columns[alive, place])
            kept = now != _DEAD
            ids.append(tokens[kept])
            states.append(now[kept])
        every, special = np.concatenate(ids), self.program.specials(self.states[number])
        following = Next(every, np.concatenate(states), special, self.program.ends(self.states[number]))
        if not (len(every) or special or following.ends):
            raise InputError("this model's vocabulary cannot write what the answer must be")
        if len(every) > _FEW:
            following.mask = self._mask(following)
        return following

    def mask(self, number: int) -> torch.Tensor:
        """(vocab,) bool: the tokens that may follow a state."""
        following = self.after(number)
        return self._mask(following) if following.mask is None else following.mask

    def _mask(self, following: Next) -> torch.Tensor:
        mask = self.words.end_mask.clone() if following.ends else torch.zeros_like(self.words.end_mask)
        mask[torch.from_numpy(following.ids)] = True
        mask[following.special] = True
        return mask

    def step(self, number: int, byte: int) -> int:
        """The state after one byte."""
        found = int(self.table[number, byte])
        if found == _UNKNOWN:
            found = self.number(self.program.by_byte(self.states[number], byte))
            self.table[number, byte] = found
        return found

    def taken(self, number: int, token: int) -> int:
        """The state after a token that may come next."""
        following = self.after(number)
        places = np.flatnonzero(following.ids == token)
        if len(places):
            return int(following.states[places[0]])
        return self.number(self.program.by_token(self.states[number], token))

    def _walk(self, states: Any, data: Any) -> Any:
        """The states after one byte each."""
        moved = self.table[states, data]
        if (moved == _UNKNOWN).any():
            pairs = {(int(s), int(b)) for s, b in zip(states[moved == _UNKNOWN], data[moved == _UNKNOWN], strict=True)}
            for state, byte in pairs:
                self.step(state, byte)
            moved = self.table[states, data]
        return moved

    def way_out(self, number: int) -> list[int]:
        """Tokens that end the answer from a state, the end token included."""
        found = self.ways.get(number)
        if found is None:
            found = []
            for piece in self.program.way_out(self.states[number]):
                found += [piece] if isinstance(piece, int) else self.words.greedy(piece)
            found = self.ways[number] = [*found, self.words.ends[0]]
        return found


class MachineGuide:
    """The guide of one answer over an automaton."""

    def __init__(self, automaton: Automaton) -> None:
        automaton.forget()
        self._automaton, self._generation = automaton, automaton.generation
        self._at = automaton.number(automaton.program.start)
        self._state = automaton.program.start
        self._way = automaton.way_out(self._at)
        self.ended = False

    @property
    def shortest(self) -> int:
        """Tokens of a short way to the end from here, the end token included."""
        self._settle()
        return len(self._way)

    def mask(self) -> torch.Tensor | None:
        """(vocab,) bool: what may come next."""
        self._settle()
        return self._automaton.words.end_mask if self.ended else self._automaton.mask(self._at)

    def accept(self, token: int) -> None:
        """Advances by a token. Raises InputError for one that the mask forbids."""
        self._settle()
        shared = self._automaton
        if self.ended or not 0 <= token < shared.words.width or not shared.mask(self._at)[token]:
            raise InputError(f"token {token} cannot come next in this answer")
        if token in shared.words.ends:
            self.ended = True
            return
        kept = self._way[1:] if self._way[0] == token else None  # to its end: half of N/A is no value
        self._at = shared.taken(self._at, token)
        self._state = shared.states[self._at]
        self._way = kept if kept is not None else shared.way_out(self._at)

    def forced(self) -> list[int]:
        """Tokens of which there is no choice."""
        self._settle()
        found: list[int] = []
        at = self._at
        while not self.ended and len(found) < _FORCED:
            following = self._automaton.after(at)
            if following.ends or len(following.ids) + len(following.special) != 1:
                break
            found.append(int(following.ids[0]) if len(following.ids) else following.special[0])
            at = self._automaton.taken(at, found[-1])
        return found

    def closing(self, left: int) -> torch.Tensor | None:
        """As `mask`, only tokens after which the answer can end within `left` tokens."""
        mask, shared = self.mask(), self._automaton
        if self.ended or mask is None or left > shared.program.longest:
            return mask
        following = shared.after(self._at)
        ids = np.concatenate((following.ids, np.array(following.special, dtype=np.int64)))
        taken = [shared.taken(self._at, token) for token in following.special]
        states = np.concatenate((following.states, np.array(taken, dtype=np.int64)))
        reached, inverse = np.unique(states, return_inverse=True)
        needed = np.array([len(shared.way_out(int(state))) for state in reached], dtype=np.int64)
        closing = mask & shared.words.end_mask if len(self._way) <= left else torch.zeros_like(mask)
        closing[torch.from_numpy(ids[needed[inverse] < left])] = True
        if len(self._way) <= left or not closing.any():
            closing[self._way[0]] = True
        return closing

    def fork(self) -> MachineGuide:
        """A guide in the same state."""
        self._settle()
        made = MachineGuide.__new__(MachineGuide)
        made.__dict__.update(self.__dict__)
        return made

    def _settle(self) -> None:
        """Finds its state again where the automaton has forgotten its states."""
        if self._generation != self._automaton.generation:
            self._generation, self._at = self._automaton.generation, self._automaton.number(self._state)


def automaton(grammar: Node, words: Vocabulary) -> Automaton:
    """The automaton of a grammar. Raises InputError where the vocabulary cannot write it."""
    return Automaton(compile_grammar(grammar, words.id), words)
