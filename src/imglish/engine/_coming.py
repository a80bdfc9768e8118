"""Jobs on their way to the loop: whoever takes them may be stopped by memory that ends, and take on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from imglish.engine.batch import is_out_of_memory

if TYPE_CHECKING:
    from imglish.engine.loop import Job

Begin = Callable[[int, int], Iterator[list["Job"]]]


class Coming(Iterator["Job"]):
    """The jobs of requests one by one; an error on the way loses none of them, and the next call tries again.

    `begin(place, together)` makes the jobs of each request from number `place` on, so many requests at a time; after
    memory has ended, of half as many.
    """

    def __init__(self, begin: Begin, together: int) -> None:
        self.begin, self.together, self.place = begin, together, 0
        self._ready: list[Job] = []
        self._made: Iterator[list[Job]] | None = None

    def __next__(self) -> Job:
        while not self._ready:
            if self._made is None:
                self._made = self.begin(self.place, self.together)
            try:
                self._ready = next(self._made)
            except StopIteration:
                raise
            except Exception as error:
                self._made = None
                if is_out_of_memory(error):
                    self.together = max(self.together // 2, 1)
                raise
            self.place += 1
        return self._ready.pop(0)
