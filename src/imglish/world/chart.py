"""A bar, line, scatter or pie chart: values that can be read off, extremes, differences, trend, a conclusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from imglish.core.results import Text
from imglish.core.types import Sample, Size
from imglish.world import _beyond, _figures, _papers, _plot, _text
from imglish.world._forms import Maker
from imglish.world._scene import LANGUAGES, Language, Scene, Wording

VERSION = 1
DIFFICULTIES = ("easy", "ordinary", "hard", "crowded")
SIZE: Size = (224, 192)
# categories, font height of the default size, grain, chance that values stand beside their marks
_EASY = ((3, 3), 13, (0, 0), 1.0)
_ORDINARY = ((3, 6), 12, (0, 4), 0.4)
_HARD = ((4, 7), 11, (3, 12), 0.0)
_CROWDED = ((7, 10), 10, (0, 6), 0.2)
_LEVELS = {"easy": _EASY, "ordinary": _ORDINARY, "hard": _HARD, "crowded": _CROWDED}


def draw(seed: int, size: Size = SIZE, difficulty: str = "ordinary") -> Scene:
    """A chart; its largest and its smallest value are unique. `facts`: form, title, names, values, trend, language."""
    rng = Random(f"chart/{VERSION}/{seed}/{size}/{difficulty}")
    (low, high), px, (calm, loud), written = _LEVELS[difficulty]
    px = max(5, round(px * min(size[0] / SIZE[0], size[1] / SIZE[1])))
    language, form = rng.choice(LANGUAGES), rng.choice(("bar", "bar", "line", "scatter", "pie"))
    count = min(rng.randint(low, high), 6 if form == "pie" else high)
    face = rng.choice(("sans", "sans", "sans bold", "serif", "serif bold"))
    room = size[0] if form == "pie" else _plot.room(size, px, count)
    source, names = _names(rng, language, form, count, lambda name: _text.width(name, face, px) <= room)
    trend = rng.choice(("rising", "falling", "none")) if form in ("line", "scatter") else "none"
    beside = form == "pie" or rng.random() < written
    top, step, values = _values(rng, form, count, trend, any_value=beside)
    title, unit = rng.choice(_figures.TITLES[language].split("|")).split(":")
    if rng.random() < 0.5 and source != "year":
        title += f" {rng.randint(1990, 2039)}"
    axes = tuple(label if rng.random() < 0.75 else "" for label in (_figures.AXES[language][source], unit))
    data = _plot.Data(form, title, names, values, top, step, (axes[0], axes[1]), beside)
    look = _plot.style(rng, count, px, face)
    image, lines = _plot.plot(data, look, size, rng)
    if amount := rng.randint(calm, loud):
        image = _text.grain(image, rng, amount, grey=rng.random() < 0.5)
    facts = {
        "form": form,
        "title": title,
        "names": names,
        "values": values,
        "trend": trend if form in ("line", "scatter") else "",
        "language": language,
        "written": beside,
    }
    fields = {"title": title, **{name: str(value) for name, value in zip(names, values, strict=True)}}
    return Scene("chart", seed, size, difficulty, (image,), lines=lines, fields=fields, facts=facts)


def _names(
    rng: Random, language: Language, form: str, count: int, fits: Callable[[str], bool]
) -> tuple[str, tuple[str, ...]]:
    """Where the names are from, and the names: months and days in order, words in none, all narrow enough."""
    if form == "scatter":
        step = rng.choice((1, 1, 2, 5, 10))
        return "number", tuple(str(step * (index + 1)) for index in range(count))
    sources = (
        ["month", "day", "year", "letter"] if form == "line" else ["word", "word", "word", "letter", "month", "day"]
    )
    rng.shuffle(sources)
    for source in sources:
        if source == "word":
            words = rng.choice(_figures.NAMES[language][source].split("|")).split()
            rng.shuffle(words)
            words = [word for word in words if fits(word)]
        elif source == "letter":
            words = list("ABCDEFGHIJKL")[:count]
        elif source == "year":
            words = [str(rng.randint(1990, 2030))]
            words += [str(int(words[0]) + index) for index in range(1, count)]
        else:
            words = _figures.NAMES[language][source].split()
        start = rng.randint(0, max(0, len(words) - count))
        names = words[start : start + count]
        if len(names) == count and all(map(fits, names)):
            return source, tuple(names)
    return "letter", tuple("ABCDEFGHIJKL"[:count])


def _values(rng: Random, form: str, count: int, trend: str, *, any_value: bool) -> tuple[int, int, tuple[int, ...]]:
    """End of the axis, distance of its ticks, values. Values not written out lie on a tick or half way between two."""
    while True:
        if form == "pie":
            top, step = 100, 20
            extra = [rng.randrange(count) for _ in range(20 - 2 * count)]  # each slice has 10 % or more
            values = [5 * (2 + extra.count(index)) for index in range(count)]
        else:
            step = rng.choice((1, 2, 2, 4, 10, 10, 20, 50, 100))
            top = step * rng.randint(4, 6)
            unit = 1 if any_value else max(1, step // 2)
            values = [unit * rng.randint(max(1, top // unit // 20), top // unit) for _ in range(count)]
        if values.count(max(values)) > 1 or values.count(min(values)) > 1:
            continue
        if trend != "none":
            values = sorted(set(values), reverse=trend == "falling")
        elif form in ("line", "scatter") and values in (sorted(values), sorted(values, reverse=True)):
            continue
        if len(values) == count:
            return top, step, tuple(values)


def samples(scene: Scene, language: Language = "en", wording: Wording = "train") -> Iterator[Sample]:
    """A value, an extreme, a difference, the trend, the number of categories, title and kind, and the conclusion."""
    make = Maker(scene, _figures.CHART, language, wording)
    rng, facts = make.rng, scene.facts
    names, values = facts["names"], facts["values"]
    table = dict(zip(names, values, strict=True))
    name, other = rng.sample(names, 2)

    def number(topic: str, value: int, **slots: str) -> Sample:
        question = make.question(topic, **slots)
        return make.ask("chart", question, str(value), extra={"value": value}, tags=(topic, facts["form"]))

    yield number("value", table[name], name=name)
    if rng.random() < 0.5:
        yield number("difference", abs(table[name] - table[other]), name=name, other=other)
    topic, best = rng.choice((("largest", max), ("smallest", min)))
    yield make.ask("chart", make.question(topic), best(names, key=table.__getitem__), tags=(topic, facts["form"]))
    if facts["trend"]:
        answer = _figures.TRENDS[language][facts["trend"]]
        yield make.ask("chart", make.question("trend"), answer, tags=("trend", facts["form"]))
    yield make.ask("count", make.question("count"), str(len(names)), extra={"value": len(names)})
    yield make.ask("read_line", make.question("title"), facts["title"], tags=("title",))
    yield make.ask("identify", make.question("form"), _figures.FORMS[language][facts["form"]], tags=("form",))
    yield _conclusion(make, scene, table)
    if rng.random() < 0.1:
        yield make.ask("unknown", *_beyond.question(rng, language, wording))


def _conclusion(make: Maker, scene: Scene, table: dict[str, int]) -> Sample:
    rng, facts, language = make.rng, scene.facts, make.language
    detail, tone = rng.choice(("brief", "normal", "full")), rng.choice(("factual", "factual", "positive", "negative"))
    most, least = max(table, key=table.__getitem__), min(table, key=table.__getitem__)
    form = _figures.FORMS[language][facts["form"]]
    form = form if language == "en" else form[0].upper() + form[1:]
    text = make.say("head", form=form, title=facts["title"])
    if facts["trend"] and (detail != "brief" or rng.random() < 0.5):
        trend = _figures.TRENDS[language][facts["trend"]]
        text += make.say("course", trend=trend, first=facts["values"][0], last=facts["values"][-1])
    if tone != "negative" or detail != "brief":
        text += make.say("most", a=most, x=table[most])
    if tone == "negative" or detail != "brief":
        text += make.say("least", b=least, y=table[least])
    if detail == "full":
        text += make.say("all", pairs=", ".join(f"{name} {value}" for name, value in table.items()))
    question = make.question("summary")
    if tone != "factual":
        text += make.say(tone, a=most, b=least)
        question += " " + make.choose(_papers.TONES, tone)
    return make.sample("caption", "summary", question, text, Text(text=text), detail=detail, tags=(detail, tone))
