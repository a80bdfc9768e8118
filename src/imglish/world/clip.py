"""A short film of things: one or two move, or they appear or disappear one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from imglish.core.errors import UnknownName
from imglish.core.results import Text
from imglish.core.types import Sample, Size
from imglish.world._changes import start, way
from imglish.world._draw import colours_on, ground
from imglish.world._forms import Maker
from imglish.world._motions import TABLE, coming, going, moving, nothing_happens
from imglish.world._scene import Language, Scene, Thing, Wording
from imglish.world._stage import DIRECTIONS, Actor, Scale, apart, cast, inside, render, several, swept
from imglish.world._words import NO, NOTHING, YES, phrase

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "crowded", "repeats")
SIZE: Size = (144, 144)
COUNTS = {"easy": (1, 2), "ordinary": (1, 3), "crowded": (4, 6), "repeats": (2, 4)}
KINDS: tuple[tuple[Scale, ...], tuple[Scale, ...]] = (("medium", "medium", "large"), ("small", "small", "medium"))
MODES = ("move", "move", "move", "order", "both", "appear", "gone", "still")
Move = tuple[int, str, int, int, int]  # whose, which way, how many pixels, from frame, to frame
Entry = tuple[int, int]  # whose, at which frame


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """8 to 24 frames. `crowded`: more things, which may pass before one another; `repeats`: some share their name.

    `facts`: `frames`, `actors` (name, colour), `moves` (actor, direction, pixels, first frame, last frame), `appears`
    and `gone` (actor, frame), each in order of time. A thing's `attributes["actor"]` says which actor it is.
    """
    if difficulty not in DIFFICULTIES:
        raise UnknownName("difficulty", difficulty, DIFFICULTIES)
    rng = Random(f"clip/{VERSION}/{seed}/{size}/{difficulty}")
    backdrop, grounds = ground(rng, size, plain=difficulty == "easy")
    count = rng.randint(*COUNTS[difficulty])
    alike = rng.randint(2, count) if difficulty == "repeats" else 1
    wanted = several(rng, count, colours_on(*grounds), alike=alike)
    kinds = KINDS[difficulty in ("crowded", "repeats")]
    actors = cast(rng, size, wanted, kinds=kinds, gap=4)
    frames = rng.choice((8, 8, 10, 12, 16, 24))
    moves, appears, gone = _plot(rng, actors, size, frames, loose=difficulty == "crowded")
    pictures, things = [], list[Thing]()
    for index in range(frames):
        seen = [_at(actor, index, moves) for actor in actors if _there(actor, index, appears, gone)]
        picture, truth = render(backdrop, seen, image=index)
        pictures.append(picture)
        things += truth
    cast_list = tuple((actor.name, actor.colour) for actor in actors)
    facts = {"frames": frames, "actors": cast_list, "moves": moves, "appears": appears, "gone": gone}
    return Scene("clip", seed, size, difficulty, tuple(pictures), tuple(things), facts=facts)


def _plot(
    rng: Random, actors: list[Actor], size: Size, frames: int, *, loose: bool
) -> tuple[tuple[Move, ...], tuple[Entry, ...], tuple[Entry, ...]]:
    """Who moves when, who appears, who disappears."""
    mode = rng.choice(MODES) if len(actors) > 1 else rng.choice(("move",) * 9 + ("still",))
    if mode == "still":
        return (), (), ()
    if mode in ("appear", "gone"):
        chosen = rng.sample(range(len(actors)), rng.randint(2, min(3, len(actors))))
        entries = tuple((who, frames * (i + 1) // (len(chosen) + 1)) for i, who in enumerate(chosen))
        return ((), entries, ()) if mode == "appear" else ((), (), entries)
    half = (frames - 1) // 2
    spans = {"move": [(0, frames - 1)], "order": [(0, half), (half, frames - 1)], "both": [(0, frames - 1)] * 2}[mode]
    moves: list[Move] = []
    taken = {actor.key: actor.frame for actor in actors}
    for actor in rng.sample(actors, len(actors)):
        if len(moves) == len(spans):
            break
        others = [frame for key, frame in taken.items() if key != actor.key]
        path = _path(rng, actor, [] if loose else others, size)
        if path:
            taken[actor.key] = swept(actor.frame, actor.moved(*path).frame)
            moves.append((actor.key, *path, *spans[len(moves)]))
    if len(moves) == 1:
        moves = [(*moves[0][:3], 0, frames - 1)]
    return tuple(moves), (), ()


def _path(rng: Random, actor: Actor, others: Sequence[tuple[int, int, int, int]], size: Size) -> tuple[str, int] | None:
    """A direction with at least three tenths of the picture of free way, and how far to go."""
    least = max(size) * 3 // 10
    for direction in rng.sample(list(DIRECTIONS), 4):
        for pixels in (rng.randint(least, least * 9 // 4), rng.randint(least, least * 3 // 2), least):
            end = actor.moved(direction, pixels).frame
            if inside(end, size) and all(apart(swept(actor.frame, end), other, 2) for other in others):
                return direction, pixels
    return None


def _at(actor: Actor, index: int, moves: Sequence[Move]) -> Actor:
    for who, direction, pixels, first, last in moves:
        if who == actor.key:
            return actor.moved(direction, pixels * min(max(index - first, 0), last - first) // (last - first))
    return actor


def _there(actor: Actor, index: int, appears: Sequence[Entry], gone: Sequence[Entry]) -> bool:
    return index >= dict(appears).get(actor.key, 0) and index < dict(gone).get(actor.key, index + 1)


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """What happens; which way something moves; what moves, and what moves, appears or disappears first or last."""
    maker, moves = Maker(scene, TABLE, language, wording), scene.facts["moves"]
    names = [phrase(name, colour=colour, language=language) for name, colour in scene.facts["actors"]]

    def watch(topic: str, answer: str, who: int = -1) -> Sample:
        thing = "" if who < 0 else f"the {names[who]}" if language == "en" else names[who]
        question = start(maker.question(topic, thing=thing))
        return maker.sample("watch", "clip", question, answer, Text(text=answer), tags=(topic,))

    for who, direction, *_ in moves:
        yield watch("way", way(direction, language), who)
    if len(moves) < 2:
        yield watch("mover", names[moves[0][0]] if moves else NOTHING[language])
    movers, rng = {move[0] for move in moves}, maker.rng
    still = sorted(set(range(len(names))) - movers)
    if rng.random() < (0.35 if moves and not still else 0.8):  # "no" as often as "yes"
        who = rng.choice(still if still and (not moves or rng.random() < 0.42) else sorted(movers))
        yield watch("moves", (YES if who in movers else NO)[language], who)
    for verb, events in (("move", moves), ("appear", scene.facts["appears"]), ("gone", scene.facts["gone"])):
        if len(events) > 1 and (verb != "move" or moves[0][3] != moves[1][3]):
            yield watch(f"{verb}_first", names[events[0][0]])
            yield watch(f"{verb}_last", names[events[-1][0]])
    yield watch("happens", story(scene, language))


def story(scene: Scene, language: Language) -> str:
    """What happens, one short sentence each, in order of time, then from left to right."""
    actors, facts = scene.facts["actors"], scene.facts
    left = {thing.attributes["actor"]: thing.box[0] for thing in reversed(scene.things)}
    told: list[tuple[int, float, str]] = []
    for who, direction, _, first, _ in facts["moves"]:
        name, colour = actors[who]
        told.append((first, left[who], moving(name, colour, direction, language)))
    for events, tell in ((facts["appears"], coming), (facts["gone"], going)):
        told += [(frame, left[who], tell(actors[who][0], actors[who][1], language)) for who, frame in events]
    return " ".join(sentence for *_, sentence in sorted(told)) or nothing_happens(language)
