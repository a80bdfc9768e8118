"""Text, receipts, cards and charts: what is written on the picture is what the truth says, where it says."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imglish.core.results import Record, TextRegions
from imglish.world import _figures, _lexicon, _papers, _reading, _text, card, chart, receipt, text
from imglish.world._forms import wordings
from imglish.world._scene import HELD_OUT, LANGUAGES

KINDS = (text, receipt, card, chart)
CASES = [(kind, level) for kind in KINDS for level in kind.DIFFICULTIES]
TABLES = (_reading.TABLE, _papers.RECEIPT, _papers.CARD, _papers.TONES, _figures.CHART)


def named(case):
    return f"{case[0].__name__.rsplit('.', 1)[1]}-{case[1]}"


@pytest.fixture(params=CASES, ids=named, scope="module")
def scenes(request):
    kind, level = request.param
    return kind, [kind.draw(seed, difficulty=level) for seed in range(6)]


def everything(kind, scene):
    return [
        sample for language in LANGUAGES for way in ("train", "held") for sample in kind.samples(scene, language, way)
    ]


@pytest.mark.parametrize("angle", [0.0, 7.5, -30.0, 90.0])
@pytest.mark.parametrize("string", ["Żółw", "phở 12", "Ёж", "W", "a.b"])
def test_the_quad_of_a_line_holds_all_its_ink_and_is_tight(string, angle):
    image = Image.new("RGB", (240, 240), "white")
    line = _text.write(image, string, (120, 120), 30, angle=angle, anchor="centre")
    rows, columns = np.nonzero(np.asarray(image.convert("L")) < 128)
    quad = np.array(line.quad)
    across, down = quad[1] - quad[0], quad[3] - quad[0]
    wide, high = np.hypot(*across), np.hypot(*down)
    spots = np.stack([columns + 0.5, rows + 0.5], 1) - quad[0]
    along, below = spots @ across / wide, spots @ down / high
    assert along.min() > -1.0
    assert along.max() < wide + 1.0
    assert below.min() > -1.0
    assert below.max() < high + 1.0
    assert along.min() < 2.5
    assert along.max() > wide - 2.5
    assert below.min() < 2.5
    assert below.max() > high - 2.5


def test_the_centre_of_a_character_lies_on_that_character():
    for angle in (0.0, 25.0, -25.0):
        for index in (0, 3, 7):
            string = "·" * index + "X" + "·" * (9 - index)  # middle dots are short: only X reaches above the line
            image = Image.new("RGB", (400, 400), "white")
            line = _text.write(image, string, (200, 200), 28, face="mono", angle=angle, anchor="centre")
            bare = Image.new("RGB", (400, 400), "white")
            _text.write(bare, string, (200, 200), 28, face="mono", angle=angle, anchor="centre", colour=(255, 255, 255))
            ink = np.asarray(image.convert("L")) < 100
            x, y = line.centres[index]
            window = ink[round(y) - 9 : round(y) + 9, round(x) - 9 : round(x) + 9].sum()
            others = [ink[round(b) - 9 : round(b) + 9, round(a) - 9 : round(a) + 9].sum() for a, b in line.centres]
            assert window == max(others)
            assert sorted(others)[-2] < window / 2


def test_every_letter_of_the_four_languages_has_a_glyph_in_the_face_that_is_chosen():
    for letters in _lexicon.LETTERS.values():
        for face in _text.FACES:
            for letter in letters + letters.upper():
                assert _text._has(_text.face_for(letter, face), letter), (letter, face)


def test_a_letter_that_a_face_lacks_is_noticed():
    assert not _text._has("mono", "ở")
    assert _text.face_for("phở", "mono") == "sans"


def test_the_same_seed_gives_the_same_scene_and_another_seed_another(scenes):
    kind, drawn = scenes
    again = kind.draw(3, difficulty=drawn[3].difficulty)
    assert again.images[0].tobytes() == drawn[3].images[0].tobytes()
    assert (again.lines, again.fields, again.facts) == (drawn[3].lines, drawn[3].fields, drawn[3].facts)
    assert len({scene.images[0].tobytes() for scene in drawn}) == len(drawn)


def test_every_line_lies_in_the_picture_and_has_a_centre_for_each_character(scenes):
    for scene in scenes[1]:
        for line in scene.lines:
            assert line.string
            assert len(line.centres) == len(line.string)
            corners = np.array(line.quad)
            assert corners.min() >= -1.5, line
            assert (corners <= np.array(scene.size) + 1.5).all(), line


def test_every_line_can_be_seen_where_its_quad_is(scenes):
    for scene in scenes[1]:
        values = np.asarray(scene.images[0], np.float32) @ [0.299, 0.587, 0.114]
        for line in scene.lines:
            corners = np.array(line.quad)
            left, top = np.maximum(np.floor(corners.min(0)), 0).astype(int)
            right, bottom = np.ceil(corners.max(0)).astype(int)
            part = values[top:bottom, left:right]
            assert part.max() - part.min() > 25, line


@pytest.mark.parametrize("size", [(96, 192), (192, 96), (400, 300), (500, 640)])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.rsplit(".", 1)[1])
def test_every_size_can_be_drawn(kind, size):
    for level in kind.DIFFICULTIES:
        for seed in range(2):
            scene = kind.draw(seed, size, level)
            assert scene.images[0].size == scene.size == size


def test_lines_of_a_text_do_not_overlap():
    for seed in range(40):
        image = Image.new("L", (192, 192))
        for line in text.draw(seed, difficulty="ordinary").lines:
            middle = np.array(line.quad).mean(0)
            assert image.getpixel(tuple(int(value) for value in middle)) == 0
            ImageDraw.Draw(image).polygon([tuple(corner) for corner in line.quad], fill=255)


def test_samples_are_typed_told_apart_and_worded_in_the_asked_language(scenes):
    kind, drawn = scenes
    samples = [sample for scene in drawn[:4] for sample in everything(kind, scene)]
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.question
        assert "{" not in sample.question
        assert "{" not in sample.answer.replace('{"', "")
        assert sample.truth is not None
        assert sample.request().language == sample.language
        if isinstance(sample.truth, Record):
            assert sample.truth.data == json.loads(sample.answer)
            assert set(sample.schema["properties"]) == set(sample.truth.data)
        elif isinstance(sample.truth, TextRegions):
            assert sample.answer == "\n".join(sample.truth.texts)
        else:
            assert sample.truth.text == sample.answer


def test_samples_of_a_scene_are_the_same_when_asked_again(scenes):
    kind, drawn = scenes
    first, second = everything(kind, drawn[0]), everything(kind, drawn[0])
    assert [(s.id, s.question, s.answer) for s in first] == [(s.id, s.question, s.answer) for s in second]


def test_held_out_wordings_are_never_used_in_training():
    for table in TABLES:
        for topic, languages in table.items():
            for language in LANGUAGES:
                if "||" not in languages[language]:
                    assert languages[language].count("|") == 0, "an answer has one wording"
                    continue
                train = wordings(table, topic, language, "train")
                held = wordings(table, topic, language, "held")
                assert held, (topic, language)
                assert len(train) >= 2, (topic, language)
                assert not set(train) & set(held), (topic, language)


def test_english_has_enough_wordings_of_the_main_questions():
    main = [
        (_reading.TABLE, ("read", "single", "line", "plate")),
        (_papers.RECEIPT, ("fields", "summary", "total", "shop", "date", "price")),
        (_papers.CARD, ("fields", "summary", "name", "surname", "number", "birth_date", "country")),
        (_figures.CHART, ("value", "largest", "smallest", "difference", "trend", "summary")),
    ]
    for table, topics in main:
        for topic in topics:
            assert len(wordings(table, topic, "en", "train")) >= 8, topic
            assert len(wordings(table, topic, "en", "held")) >= 2, topic


def test_a_receipt_adds_up_and_prints_its_fields():
    for seed in range(HELD_OUT, HELD_OUT + 25):
        scene = receipt.draw(seed)
        printed = {line.string for line in scene.lines}
        for name in ("shop", "date", "total"):
            assert scene.fields[name] == receipt.MISSING or scene.fields[name] in printed
        prices = [round(float(item.rsplit(" ", 1)[1]) * 100) for item in scene.fields["items"].split(", ")]
        assert [price for _, price in scene.facts["items"]] == prices
        if scene.fields["total"] != receipt.MISSING:
            assert round(float(scene.fields["total"]) * 100) == sum(prices)


def test_a_card_prints_what_its_record_says_and_nothing_of_a_missing_field():
    missing = 0
    for seed in range(30):
        scene = card.draw(seed)
        printed = [line.string for line in scene.lines]
        for name, value in scene.fields.items():
            label = _papers.LABELS[scene.facts["language"]][card.FIELDS.index(name)] + ":"
            if value == card.MISSING:
                missing += 1
                assert label not in printed or printed[printed.index(label) + 1] == "—"
            else:
                assert printed[printed.index(label) + 1] == value
    assert missing > 3


def test_the_bars_of_a_chart_are_as_high_as_their_values():
    seen = 0
    for seed in range(60):
        scene = chart.draw(seed, difficulty="easy")
        if scene.facts["form"] != "bar":
            continue
        seen += 1
        values = np.asarray(scene.images[0], np.int16)
        names = {line.string: line for line in scene.lines[1:4]}
        heights = []
        for name in scene.facts["names"]:
            x = round(np.mean([corner[0] for corner in names[name].quad])) - 4
            column = values[: int(min(corner[1] for corner in names[name].quad)) - 1, x]
            axis = max(np.nonzero(np.abs(column - values[1, 1]).sum(1) > 300)[0])
            heights.append((np.abs(column - column[axis - 1]).sum(1) < 12).sum())
        top = np.argmax(scene.facts["values"])
        ratios = np.array(heights) / heights[top] - np.array(scene.facts["values"]) / scene.facts["values"][top]
        assert np.abs(ratios).max() < 0.05, (seed, heights, scene.facts)
    assert seen > 10


def test_the_extremes_of_a_chart_are_unique_and_the_trend_is_that_of_the_values():
    for level in chart.DIFFICULTIES:
        for seed in range(25):
            facts = chart.draw(seed, (64, 64), level).facts
            values = list(facts["values"])
            assert values.count(max(values)) == values.count(min(values)) == 1
            if facts["form"] == "pie":
                assert sum(values) == 100
            if facts["trend"]:
                way = {tuple(sorted(values)): "rising", tuple(sorted(values, reverse=True)): "falling"}
                assert way.get(tuple(values), "none") == facts["trend"]


def test_chart_answers_follow_from_the_values():
    for seed in range(20):
        scene = chart.draw(seed)
        table = dict(zip(scene.facts["names"], scene.facts["values"], strict=True))
        for sample in chart.samples(scene):
            if "largest" in sample.tags:
                assert table[sample.answer] == max(table.values())
            if "value" in sample.tags:
                assert any(name in sample.question and str(value) == sample.answer for name, value in table.items())
                assert sample.extra["value"] == int(sample.answer)


def test_an_empty_picture_is_read_as_no_lines():
    empty = next(scene for scene in map(text.draw, range(200)) if not scene.lines)
    read, presence = list(text.samples(empty))
    assert len(read.truth) == 0
    assert read.answer == ""
    assert presence.answer == "no"


def test_the_bytes_of_the_pictures_are_those_of_every_other_machine():
    digest = hashlib.blake2b(digest_size=8)
    for kind in KINDS:
        for level in kind.DIFFICULTIES:
            for seed in range(3):
                digest.update(kind.draw(seed, difficulty=level).images[0].tobytes())
    assert digest.hexdigest() == "62ff3a1fb56d4152"
