"""A grammar as a program of few instructions, and the states it can be in: a set of threads, each with its numbers.

A state is a frozen set of threads, so that equal states are one state whatever led to them: masks are kept by state.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from imglish.core.errors import InputError
from imglish.engine.guides import _numeral
from imglish.families._fields import MISSING
from imglish.families._grammar import Chars, Digits, Fresh, Line, Lit, Many, Mark, Node, Numbers, Or, Pick, Seq

_CONTINUED = frozenset(range(0x80, 0xC0))
_ASCII = frozenset(range(0x20, 0x7F))
_WIDE = (  # letters beyond ASCII: first bytes, second bytes that Unicode has behind them, how many bytes follow
    (frozenset(range(0xC2, 0xE0)), _CONTINUED, 1),
    (frozenset({0xE0}), frozenset(range(0xA0, 0xC0)), 2),
    (frozenset({*range(0xE1, 0xED), 0xEE, 0xEF}), _CONTINUED, 2),
    (frozenset({0xED}), frozenset(range(0x80, 0xA0)), 2),
    (frozenset({0xF0}), frozenset(range(0x90, 0xC0)), 3),
    (frozenset(range(0xF1, 0xF4)), _CONTINUED, 3),
    (frozenset({0xF4}), frozenset(range(0x80, 0x90)), 3),
)
_NUMERAL = 24  # characters that a number has at most
_INVENTED = 1 << 32  # what a letter or a number that nobody said costs on a way out; each token that is written costs 1


class Thread(NamedTuple):
    """Where the program is, the numbers written since the last `Fresh`, and the digits of the one being written."""

    at: int
    numbers: Numbers = ()
    digits: str = ""


State = frozenset[Thread]


@dataclass
class Step:
    """One instruction. Exactly one of its kinds is set; `to` are the instructions that follow."""

    to: list[int]
    bytes: frozenset[int] | None = None
    tokens: dict[int, int] | None = None  # id -> index
    ids: list[int] = field(default_factory=list)  # index -> id
    pick: Pick | None = None
    digits: Digits | None = None
    fresh: bool = False
    end: bool = False


@dataclass
class Program:
    """A compiled grammar. `special` gives the id of a special token by its name, or None."""

    steps: list[Step] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    longest: int = 0  # no way out of any state has more tokens, the end token included

    @property
    def start(self) -> State:
        """The state before the first byte."""
        return self.closure([Thread(len(self.steps) - 1)])

    def closure(self, threads: list[Thread]) -> State:
        """The threads that wait for a byte, a token or the end, after all that happens by itself."""
        found: set[Thread] = set()
        seen: set[Thread] = set()
        waiting = list(threads)
        while waiting:
            thread = waiting.pop()
            if thread in seen:
                continue
            seen.add(thread)
            step = self.steps[thread.at]
            if step.fresh:
                waiting += [Thread(to) for to in step.to]
            elif step.digits is not None:
                following, done = _after(step.digits, thread)
                if done:
                    number = _numeral.value(thread.digits, step.digits.decimals)
                    waiting += [Thread(to, (*thread.numbers, number)) for to in step.to]
                if following:
                    found.add(thread)
            elif step.end or step.bytes is not None or step.tokens is not None:
                found.add(thread)
            else:
                waiting += [Thread(to, thread.numbers) for to in step.to]
        return frozenset(found)

    def by_byte(self, state: State, byte: int) -> State:
        """The state after a byte; empty where the grammar has no such byte there."""
        moved: list[Thread] = []
        for thread in state:
            step = self.steps[thread.at]
            if step.bytes is not None and byte in step.bytes:
                moved += [Thread(to, thread.numbers) for to in step.to]
            elif step.digits is not None and chr(byte) in _after(step.digits, thread)[0]:
                moved.append(thread._replace(digits=thread.digits + chr(byte)))
        return self.closure(moved) if moved else frozenset()

    def first_bytes(self, state: State) -> set[int]:
        """The bytes that may come next."""
        found: set[int] = set()
        for thread in state:
            step = self.steps[thread.at]
            if step.bytes is not None:
                found |= step.bytes
            elif step.digits is not None:
                found |= set(map(ord, _after(step.digits, thread)[0]))
        return found

    def specials(self, state: State) -> list[int]:
        """The special tokens that may come next."""
        found: list[int] = []
        for thread in state:
            step = self.steps[thread.at]
            if step.tokens is not None:
                found += [step.ids[index] for index in _indices(step, thread.numbers)]
        return found

    def by_token(self, state: State, token: int) -> State:
        """The state after a special token; empty where the grammar has it not there."""
        moved: list[Thread] = []
        for thread in state:
            step = self.steps[thread.at]
            index = None if step.tokens is None else step.tokens.get(token)
            if index is not None and index in _indices(step, thread.numbers):
                numbers = (*thread.numbers, index) if step.pick is not None else thread.numbers
                moved += [Thread(to, numbers) for to in step.to]
        return self.closure(moved) if moved else frozenset()

    def ends(self, state: State) -> bool:
        """Whether the answer may end here."""
        return any(self.steps[thread.at].end for thread in state)

    def way_out(self, state: State) -> list[bytes | int]:
        """A short way from a state to the end: stretches of text, and special tokens by id.

        It invents as little as it can, so "N/A" stands in it where one letter would do.
        """
        fewest = min(self.cost[thread.at] // _INVENTED for thread in state)
        ways = [self._way(thread) for thread in state if self.cost[thread.at] // _INVENTED == fewest]
        return min(ways, key=_length)

    def _way(self, thread: Thread) -> list[bytes | int]:
        way: list[bytes | int] = []
        while True:
            step = self.steps[thread.at]
            if step.end:
                return way
            if step.digits is not None:
                low, high = step.digits.bounds(thread.numbers)
                more = _numeral.shortest(thread.digits, low, high, step.digits.decimals, step.digits.width)
                _write(way, more.encode())
                number = _numeral.value(thread.digits + more, step.digits.decimals)
                thread = Thread(self._best(step), (*thread.numbers, number))
            elif step.bytes is not None:
                _write(way, bytes([_plainest(step.bytes)]))
                thread = Thread(self._best(step), thread.numbers)
            elif step.tokens is not None:
                index = next(iter(_indices(step, thread.numbers)))
                way.append(step.ids[index])
                numbers = (*thread.numbers, index) if step.pick is not None else thread.numbers
                thread = Thread(self._best(step), numbers)
            else:
                thread = Thread(self._best(step), () if step.fresh else thread.numbers)

    def _best(self, step: Step) -> int:
        return min(step.to, key=self.cost.__getitem__)

    def measure(self) -> None:
        """What it takes at least from each instruction to the end: first what is invented, then bytes and tokens."""
        self.cost = [0.0 if step.end else float("inf") for step in self.steps]
        changed = True
        while changed:
            changed = False
            for place, step in enumerate(self.steps):
                own = 0 if step.end or step.fresh or _is_silent(step) else 1 + _INVENTED * _is_free(step)
                value = min((self.cost[to] for to in step.to), default=0.0) + own
                if not step.end and value < self.cost[place]:
                    self.cost[place], changed = value, True
        numerals = sum(step.digits is not None for step in self.steps)
        self.longest = (
            int(max((c % _INVENTED for c in self.cost if c != float("inf")), default=0)) + _NUMERAL * numerals + 1
        )


def compile_grammar(node: Node, special: Callable[[str], int | None]) -> Program:
    """The program of a grammar. Raises InputError for a special token that the vocabulary does not have."""
    program = Program()

    def add(step: Step) -> int:
        program.steps.append(step)
        return len(program.steps) - 1

    def text(data: bytes, to: int) -> int:
        for byte in reversed(data):
            to = add(Step([to], bytes=frozenset({byte})))
        return to

    def build(part: Node, to: int) -> int:
        """Places the part before `to`; gives where it begins."""
        match part:
            case Lit():
                return text(part.text.encode(), to)
            case Chars():
                return chars(part, to)
            case Line():
                return line(part, to)
            case Mark():
                token = _id(special, part.token)
                return add(Step([to], tokens={token: 0}, ids=[token]))
            case Pick():
                ids = [_id(special, token) for token in part.tokens]
                return add(Step([to], tokens={token: index for index, token in enumerate(ids)}, ids=ids, pick=part))
            case Digits():
                return add(Step([to], digits=part))
            case Fresh():
                return add(Step([to], fresh=True))
            case Seq():
                for piece in reversed(part.parts):
                    to = build(piece, to)
                return to
            case Or():
                return add(Step([build(piece, to) for piece in part.parts]))
            case Many():
                return many(part, to)
        raise InputError(f"{type(part).__name__} cannot be a part of a grammar")

    def chars(part: Chars, to: int) -> int:
        if part.only:
            plain = frozenset(ord(char) for char in part.only if ord(char) < 0x80)
            begins = [text(char.encode(), to) for char in part.only if ord(char) >= 0x80]
            return add(Step([*begins, *([add(Step([to], bytes=plain))] if plain else [])]))
        begins = [add(Step([to], bytes=_ASCII - frozenset(map(ord, part.without))))]
        for first, second, follow in _WIDE:
            place = to
            for _ in range(follow - 1):
                place = add(Step([place], bytes=_CONTINUED))
            begins.append(add(Step([add(Step([place], bytes=second))], bytes=first)))
        return add(Step(begins))

    def line(part: Line, to: int) -> int:
        """Places for so many letters written, from the last to the first; a space stands between two letters only."""
        if part.most == 0:
            return to
        letter = Chars(without=f"{part.without} ")
        last = max(part.least, 1) if part.most is None else part.most
        here = add(Step([to]))
        if part.most is None:  # from `least` on it goes on as it likes
            again = chars(letter, here)
            program.steps[here].to += [again, text(b" ", again)]
        after = before = here  # where one is with that many letters, and with one more
        for number in range(last - 1, 0, -1):
            one = chars(letter, after)
            ways = [one] + ([text(b" ", chars(letter, before))] if number + 2 <= last or part.most is None else [])
            after, before = add(Step([*ways, *([to] if number >= part.least else [])])), after
        begin = chars(letter, after)
        missing = [text(MISSING.encode(), to)] if _may_be_missing(part) else []
        return add(Step([begin, *missing, *([to] if part.least == 0 else [])]))

    def many(part: Many, to: int) -> int:
        between = part.between or Seq()
        if part.most is None:
            again = add(Step([to]))
            program.steps[again].to.append(build(between, build(part.part, again)))
            place = again
            if part.least == 0:
                return add(Step([to, build(part.part, place)]))
            needed = part.least
        else:
            if part.most == 0:
                return to
            place, needed = to, part.least
            for _ in range(part.most - max(part.least, 1)):
                place = add(Step([to, build(between, build(part.part, place))]))
            if part.least == 0:
                return add(Step([to, build(part.part, place)]))
        for number in range(needed):
            place = build(part.part, place)
            if number + 1 < needed:
                place = build(between, place)
        return place

    begin = build(node, add(Step([], end=True)))
    add(Step([begin]))
    program.measure()
    return program


def _after(digits: Digits, thread: Thread) -> tuple[str, bool]:
    low, high = digits.bounds(thread.numbers)
    return _numeral.after(thread.digits, low, high, digits.decimals, digits.width)


def _indices(step: Step, numbers: Numbers) -> Collection[int]:
    """The indices of a step's tokens that fit what was written."""
    if step.pick is None or step.pick.allowed is None:
        return range(len(step.ids))
    allowed = step.pick.allowed(numbers)
    return allowed if isinstance(allowed, range) else list(allowed)


def _id(special: Callable[[str], int | None], token: str) -> int:
    found = special(token)
    if found is None:
        raise InputError(f"this model's vocabulary has no token {token!r}, which its answers are made of")
    return found


def _may_be_missing(part: Line) -> bool:
    """Whether N/A is such a line."""
    fits = part.least <= len(MISSING) and (part.most is None or part.most >= len(MISSING))
    return fits and not set(MISSING) & set(part.without)


def _is_free(step: Step) -> bool:
    """Whether what is written here is one of many: a letter of a text, a number."""
    return step.digits is not None or (step.bytes is not None and len(step.bytes) > 1)


def _is_silent(step: Step) -> bool:
    return step.bytes is None and step.tokens is None and step.digits is None


def _length(way: list[bytes | int]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else 1 for piece in way)


def _write(way: list[bytes | int], data: bytes) -> None:
    if way and isinstance(way[-1], bytes):
        way[-1] += data
    elif data:
        way.append(data)


@lru_cache(maxsize=256)
def _plainest(allowed: frozenset[int]) -> int:
    """A letter where one is allowed: what is filled in is to be readable."""
    letters = [ord(char) for char in string.ascii_lowercase + string.digits + "." if ord(char) in allowed]
    return letters[0] if letters else min(allowed)
