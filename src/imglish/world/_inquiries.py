"""What can be asked about a scene of things: some thirty samples each, over all the skills that look at things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from imglish.core.results import Boxes, Masks, Text
from imglish.core.types import Sample
from imglish.world import _beyond, _words
from imglish.world._captions import TONES, caption, in_order
from imglish.world._forms import Maker
from imglish.world._questions import TABLE
from imglish.world._referring import Phrase, phrases, simple
from imglish.world._scene import Language, Scene, Thing, Wording
from imglish.world._words import COLOURS, NOUNS, THINGS, article, noun, phrase

MOST = 12  # the largest number that is asked for by counting


class Inquiry(Maker):
    """The samples of one scene of things."""

    def __init__(self, scene: Scene, language: Language, wording: Wording) -> None:
        super().__init__(scene, TABLE, language, wording)
        self.things = in_order(scene.things)
        self.names = Counter(thing.name for thing in self.things)
        self.pairs = Counter((thing.name, thing.colour) for thing in self.things)
        self.colours = Counter(thing.colour for thing in self.things)

    def asked(self, topic: str, name: str = "", text: str = "", **slots: str) -> str:
        """A question about a thing called `text`; now and then in lower case and without its final mark."""
        text, language = text or noun(name, self.language), self.language
        slots.setdefault("is", _words.verb(name, language))
        slots["Is"] = slots["is"].capitalize()
        if language == "en" and text:
            slots.setdefault("a", article(text))
            slots.setdefault("xs", plural(name, text))
        question = self.question(topic, x=text, **slots)
        if self.rng.random() < 0.15:
            question = question.rstrip("?.").lower()
        return question if question[:1].islower() and topic in ("refer", "segment") else _upper(question)

    def absent(self) -> str:
        """The English name of a thing of the world that this scene lacks."""
        return self.rng.choice([name for name in THINGS if name not in self.names])

    def some(self, items: Sequence[Thing], count: int) -> list[Thing]:
        """At most `count` of them, at random."""
        return self.rng.sample(items, min(count, len(items)))

    # captions

    def captions(self) -> Iterator[Sample]:
        """One of every detail; the tone is factual as often as not."""
        for detail in ("brief", "normal", "full"):
            tone = self.rng.choice((*TONES, "factual"))
            question = self.asked({"brief": "caption_brief", "normal": "caption", "full": "caption_full"}[detail])
            if tone != "factual":
                question = f"{question.rstrip('.')}. {self.question(tone)}".replace("?.", "?")
            elif self.wording == "train" and self.rng.random() < 0.4:
                question = ""  # nobody has to say more than the detail
            answer = caption(self.scene, detail=detail, tone=tone, language=self.language)
            objects = [thing.name for thing in self.things]
            more = {"detail": detail, "tags": (tone,), "extra": {"objects": objects}}
            yield self.sample("caption", "caption", question, answer, Text(text=answer), **more)
            if question:  # a chat asks for captions, too
                yield self.sample("ask", "caption", question, answer, Text(text=answer), **more)

    # short answers

    def colour(self) -> Iterator[Sample]:
        """The colour of things that can be told without it."""
        told = [item for item in phrases(self.scene, self.language) if item.by not in ("colour", "thing")]
        self.rng.shuffle(told)
        told.sort(key=lambda item: item.by != "name")  # mostly by name, in the other cases by size or place
        for item in told[:2] if self.rng.random() < 0.7 else told[:1] + told[-1:]:
            thing = self.scene.things[item.index]
            form = _words.gender(thing.name, self.language)
            answer = _words.colour_word(thing.colour, self.language, form)
            yield self.ask("colour", self.asked("colour", thing.name, item.text), answer, tags=(item.by,))

    def presence(self) -> Iterator[Sample]:
        """As many yes as no; half of the noes about coloured things have the right name or the right colour."""
        for thing in self.some(self.things, 2):
            coloured = thing.colour if self.rng.random() < 0.5 else ""
            yield self._presence(thing.name, coloured, True)
            if not coloured:
                if self.rng.random() < 0.15:
                    text = _beyond.foreign(self.rng, self.language, self.wording)
                    asked, answer = self.asked("presence", "", text), _words.NO[self.language]
                    yield self.ask("presence", asked, answer, tags=("foreign",), extra={"value": False})
                else:
                    yield self._presence(self.absent(), "", False)
                continue
            other = self.rng.choice([c for c in COLOURS if (thing.name, c) not in self.pairs])
            if self.rng.random() < 0.5:
                yield self._presence(thing.name, other, False)
            else:
                yield self._presence(self.absent(), thing.colour, False)

    def _presence(self, name: str, colour: str, truth: bool) -> Sample:
        text = phrase(name, colour=colour, language=self.language)
        answer = (_words.YES if truth else _words.NO)[self.language]
        return self.ask("presence", self.asked("presence", name, text), answer, extra={"value": truth})

    def count(self) -> Iterator[Sample]:
        """Of a kind, of a coloured kind, of a colour, of everything; what repeats comes first, none at all is rare."""
        total = len(self.things)
        if total <= MOST:
            yield self._number("ask", self.asked("count_all"), total)
            yield self._number("count", self.rng.choice(_words.EVERYTHING[self.language]), total)
        rows = list(self.names.items())
        rows.sort(key=lambda row: -row[1] if row[1] > 1 else self.rng.random())
        for name, number in rows[: 2 if rows and rows[0][1] > 1 else 1]:
            yield self._number("ask", self.asked("count", name), number)
            yield self._number("count", self.thing(name), number)
        (name, colour), number = self.rng.choice(list(self.pairs.items()))
        text = phrase(name, colour=colour, language=self.language)
        yield self._number("ask", self.asked("count", name, text), number)
        colour, number = self.rng.choice(self.colours.most_common(3))
        word = _words.colour_word(colour, self.language)
        yield self._number("ask", self.asked("count_colour", colour=word), number)
        if self.rng.random() < 0.2:
            name = self.absent()
            yield self._number("count", self.thing(name), 0)

    def _number(self, skill: str, question: str, number: int) -> Sample:
        return self.sample(skill, "count", question, str(number), Text(text=str(number)), extra={"value": number})

    def thing(self, name: str) -> str:
        """How one names a thing to `count` and `detect`: in English sometimes in the plural."""
        word = noun(name, self.language)
        return NOUNS[name].plural if self.language == "en" and self.rng.random() < 0.4 else word

    # places

    def detect(self) -> Iterator[Sample]:
        """Everything; some labels, absent ones among them; a single label, and one that is not there."""
        everything = {thing.name: noun(thing.name, self.language) for thing in self.things}
        yield self._detect("detect", self.asked("detect_all"), everything, ())
        there, rng = list(self.names), self.rng
        wanted = rng.sample(there, min(len(there), rng.randint(1, 3)))
        wanted += [self.absent() for _ in range(rng.randint(0, 2))]
        rng.shuffle(wanted)
        labels = {name: self.thing(name) for name in dict.fromkeys(wanted)}
        listed = ", ".join(labels.values())
        yield self._detect("detect", self.asked("detect", list=listed), labels, tuple(labels.values()))
        yield self._single(rng.choice(there))
        thing = rng.choice(self.things)
        yield self._single(thing.name, thing.colour)
        if rng.random() < 0.5:
            yield self._single(self.absent())
        else:
            label = _beyond.foreign(rng, self.language, self.wording)
            yield self._detect("detect_one", self.asked("detect", list=label), {}, (label,), ("absent", "foreign"))

    def _single(self, name: str, colour: str = "") -> Sample:
        label = phrase(name, colour=colour, language=self.language) if colour else self.thing(name)
        tags = ("coloured",) if colour else () if name in self.names else ("absent",)
        return self._detect("detect_one", self.asked("detect", list=label), {name: label}, (label,), tags, colour)

    def _detect(
        self,
        topic: str,
        question: str,
        names: dict[str, str],
        labels: tuple[str, ...],
        tags: tuple[str, ...] = (),
        colour: str = "",
    ) -> Sample:
        found = [thing for thing in self.things if thing.name in names and colour in ("", thing.colour)]
        said = tuple(names[thing.name] for thing in found)
        truth = Boxes(xyxy=[thing.box for thing in found], labels=said, size=self.scene.size)  # type: ignore[arg-type]
        answer = ", ".join(said) or _words.NOTHING[self.language]
        return self.sample("detect", topic, question, answer, truth, labels=labels, tags=tags)

    def refer(self) -> Iterator[Sample]:
        """Boxes and outlines of what a phrase fits, by every kind of phrase; now and then of what is not there."""
        found = self._varied(5)
        for item in found[:3]:
            thing = self.scene.things[item.index]
            truth = Boxes(xyxy=[thing.box], labels=(item.text,), size=self.scene.size)  # type: ignore[arg-type]
            asked = self.asked("refer", thing.name, item.text)
            yield self.sample("ground", "refer", asked, item.text, truth, tags=(item.by,), extra={"thing": item.index})
        for item in found[3:] or found[:1]:
            thing = self.scene.things[item.index]
            outline = Masks.from_bitmaps([thing.bitmap], labels=(item.text,), size=self.scene.size)
            asked = self.asked("segment", thing.name, item.text)
            more = {"tags": (item.by,), "extra": {"thing": item.index}}
            yield self.sample("segment", "segment", asked, item.text, outline, **more)
        if self.rng.random() < 0.3:
            name, nothing = self.absent(), _words.NOTHING[self.language]
            if self.rng.random() < 0.5:
                asked = self.asked("refer", name)
                yield self.sample("ground", "refer", asked, nothing, Boxes(size=self.scene.size), tags=("absent",))
            else:
                asked = self.asked("segment", name)
                yield self.sample("segment", "segment", asked, nothing, Masks(size=self.scene.size), tags=("absent",))

    def _varied(self, count: int) -> list[Phrase]:
        """Phrases at random, of as many kinds as there are."""
        piles: dict[str, list[Phrase]] = {}
        for item in phrases(self.scene, self.language):
            piles.setdefault(item.by, []).append(item)
        rows = list(piles.values())
        for row in rows:
            self.rng.shuffle(row)
        found: list[Phrase] = []
        while rows and len(found) < count:
            self.rng.shuffle(rows)
            found += [row.pop() for row in rows]
            rows = [row for row in rows if row]
        return found[:count]

    def relation(self) -> Iterator[Sample]:
        """Is this left of that (as often yes as no), and where is this, seen from that?"""
        names, language = simple(self.scene, self.language), self.language
        known = [row for row in self.scene.relations if row[0] in names and row[2] in names]
        for first, relation, second in self.rng.sample(known, min(2, len(known))):
            name, slots = self.scene.things[first].name, {"y": names[second]}
            truth = self.rng.random() < 0.5
            said = _words.RELATIONS[relation if truth else _words.OPPOSITE[relation]][language]
            question = self.asked("relation", name, names[first], relation=said, **slots)
            yield self.ask("relation", question, (_words.YES if truth else _words.NO)[language], extra={"value": truth})
            question = self.asked("where", name, names[first], **slots)
            yield self.ask("relation", question, _words.SIDES[relation][language], tags=("where",))

    def identify(self) -> Iterator[Sample]:
        """What is in a box."""
        for thing in self.some(self.things, 2):
            answer = phrase(thing.name, colour=thing.colour, language=self.language)
            asked = self.asked("identify") if self.wording == "held" or self.rng.random() < 0.6 else ""
            yield self.sample("identify", "identify", asked, answer, Text(text=answer), region=thing.box)

    def unknown(self) -> Iterator[Sample]:
        """A question from outside the world; now and then about the colour of what is not there."""
        yield self.ask("unknown", *_beyond.question(self.rng, self.language, self.wording))
        if self.things and self.rng.random() < 0.4:
            name = self.absent() if self.rng.random() < 0.5 else ""
            text = "" if name else _beyond.foreign(self.rng, self.language, self.wording)
            answer = _beyond.UNKNOWN[self.language]
            yield self.ask("unknown", self.asked("colour", name, text), answer, tags=("absent",))


def plural(name: str, text: str) -> str:
    """The English plural of a phrase whose noun is `name`."""
    return text[: -len(name)] + NOUNS[name].plural if name in NOUNS and text.endswith(name) else f"{text}s"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:] if text.endswith(("?", ".")) else text


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """All samples of a scene of things."""
    inquiry = Inquiry(scene, language, wording)
    if not inquiry.things:
        yield from inquiry.unknown()
        return
    topics: tuple[Callable[[], Iterator[Sample]], ...] = (
        *(inquiry.captions, inquiry.colour, inquiry.presence, inquiry.count, inquiry.detect, inquiry.refer),
        *(inquiry.relation, inquiry.identify, inquiry.unknown),
    )
    for topic in topics:
        yield from topic()
