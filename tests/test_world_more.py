"""Surfaces, pairs, clips and probes: what the samples say is what the pictures show."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pytest

from imglish.core.errors import UnknownName
from imglish.core.geometry import mask_iou, polygon_to_bitmap
from imglish.core.results import Boxes
from imglish.world import _changes, _inspection, _motions, _probing, clip, pair, part, probe
from imglish.world._forms import wordings
from imglish.world._scene import LANGUAGES, Scene, Thing
from imglish.world._stage import swept

KINDS = [part, pair, clip, probe]
name_of = lambda kind: kind.__name__.rsplit(".", 1)[1]  # noqa: E731


def scenes(kind, count, **given):
    return [kind.draw(seed, **given) for seed in range(count)]


def one(scene, tag, language="en"):
    """The first sample with a tag."""
    return next((s for s in _module(scene).samples(scene, language) if tag in s.tags), None)


def _module(scene: Scene):
    return next(kind for kind in KINDS if name_of(kind) == scene.kind)


def middle(thing: Thing):
    return (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_the_same_arguments_give_the_same_bytes_and_the_same_questions(kind):
    for difficulty in kind.DIFFICULTIES:
        first, again = (kind.draw(3, difficulty=difficulty) for _ in range(2))
        assert [image.tobytes() for image in first.images] == [image.tobytes() for image in again.images]
        asked = [[(s.id, s.question, s.answer) for s in kind.samples(scene)] for scene in (first, again)]
        assert asked[0] == asked[1]
        assert first.images[0].tobytes() != kind.draw(4, difficulty=difficulty).images[0].tobytes()


def test_surfaces_have_the_bytes_they_always_had():
    pixels = b"".join(part.draw(seed).images[0].tobytes() for seed in range(8))
    assert blake2b(pixels, digest_size=8).hexdigest() == "add1db48ae63af42"


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_an_unknown_difficulty_is_named(kind):
    with pytest.raises(UnknownName, match="ordinery"):
        kind.draw(0, difficulty="ordinery")


@pytest.mark.parametrize("size", [(96, 96), (131, 97), (150, 260)])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_boxes_bitmaps_and_outlines_agree_on_any_size(kind, size):
    for scene in scenes(kind, 6, size=size):
        assert all(image.size == size and image.mode == "RGB" for image in scene.images)
        for thing in scene.things:
            ys, xs = np.nonzero(thing.bitmap)
            assert thing.bitmap.shape == size[::-1]
            assert thing.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            if thing.visible == 1 and thing.name not in ("scratch", "crack"):
                outline = polygon_to_bitmap([thing.polygon], size)
                assert mask_iou(outline[None], thing.bitmap[None])[0, 0] > 0.7, thing.name


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_every_language_and_wording_asks_the_same_with_all_slots_filled(kind):
    for seed in range(12):
        scene, topics = kind.draw(seed), {}
        for language in LANGUAGES:
            for wording in ("train", "held"):
                made = list(kind.samples(scene, language, wording))
                assert len({sample.id for sample in made}) == len(made) > 0
                for sample in made:
                    assert sample.language == language
                    assert sample.answer
                    assert sample.question
                    assert not set("{}|") & set(sample.question + sample.answer)
                    assert sample.request().skill == sample.skill
                topics.setdefault(made[0].topic, set()).add((language, wording))
        assert [len(found) for found in topics.values()] == [8]


@pytest.mark.parametrize("words", [_inspection, _changes, _motions, _probing], ids=name_of)
def test_held_out_wordings_are_never_trained_on(words):
    for topic in words.TABLE:
        for language in LANGUAGES:
            train, held = (set(wordings(words.TABLE, topic, language, w)) for w in ("train", "held"))
            assert len(train) >= 4, (topic, language)
            assert held, (topic, language)
            assert not train & held, (topic, language)
            slots = {frozenset(part.split("}")[0] for part in text.split("{")[1:]) for text in train | held}
            assert all(slot <= {"thing", "things", "name", "one", "two", "x", "y", "xs"} for slot in slots)


# part


def test_half_of_the_surfaces_are_sound_and_every_defect_occurs():
    found = [part.draw(seed, size=(96, 96)).facts["defect"] for seed in range(300)]
    assert 120 < found.count("") < 180
    assert set(found) == {"", *part.DEFECTS}


def test_a_surface_is_called_defective_exactly_when_a_defect_is_drawn():
    for difficulty in part.DIFFICULTIES:
        for scene in scenes(part, 15, difficulty=difficulty):
            said = one(scene, "yes or no").answer
            assert said == ("yes" if scene.things else "no")
            assert one(scene, "which").answer == (scene.things[0].name if scene.things else "none")
            detected, grounded, *rest = (s for s in part.samples(scene) if s.topic == "defect_box")
            for sample in (detected, grounded):
                assert isinstance(sample.truth, Boxes)
                assert sample.truth.xyxy.tolist() == [list(thing.box) for thing in scene.things]
            assert detected.labels == ("defect",)
            assert all(len(s.truth) == (len(scene.things) if s.labels == (scene.facts["defect"],) else 0) for s in rest)


def test_a_defect_differs_from_the_surface_around_it():
    for scene in scenes(part, 40):
        pixels = np.asarray(scene.images[0], np.int32)
        for thing in scene.things:
            x1, y1, x2, y2 = (int(v) for v in thing.box)
            near = np.zeros_like(thing.bitmap)
            near[max(y1 - 8, 0) : y2 + 8, max(x1 - 8, 0) : x2 + 8] = True
            near &= ~thing.bitmap
            inside, outside = pixels[thing.bitmap].mean(1), pixels[near].mean(1)
            assert abs(inside.mean() - outside.mean()) > 15 or inside.std() > 1.25 * outside.std(), thing.name


def test_repeated_defects_are_of_one_class_and_apart():
    several = [scene for scene in scenes(part, 30, difficulty="repeats") if len(scene.things) > 1]
    assert several
    for scene in several:
        assert len({thing.name for thing in scene.things}) == 1
        assert not np.logical_and.reduce([thing.bitmap for thing in scene.things]).any()


# pair


def changed_pixels(scene):
    first, second = (np.asarray(image, np.int32) for image in scene.images)
    return (first != second).any(2)


@pytest.mark.parametrize("difficulty", pair.DIFFICULTIES)
def test_pictures_of_a_pair_differ_only_where_the_changed_thing_is(difficulty):
    seen = set()
    for scene in scenes(pair, 20, difficulty=difficulty):
        differ, change = changed_pixels(scene), scene.facts["change"]
        seen.add(change)
        if change == "nothing":
            assert not differ.any()
            continue
        assert differ.any()
        keys = [{(t.attributes["actor"], t.colour, t.box) for t in scene.things if t.image == i} for i in (0, 1)]
        changed = keys[0] ^ keys[1]
        assert len({key for key, *_ in changed}) == 1
        for _, _, (x1, y1, x2, y2) in changed:
            differ[max(int(y1) - 3, 0) : int(y2) + 3, max(int(x1) - 3, 0) : int(x2) + 3] = False  # soft edges
        assert not differ.any()
    assert len(seen) >= 4


def test_what_changed_is_told_as_it_happened():
    for scene in scenes(pair, 40):
        facts, said = scene.facts, one(scene, "what").answer
        there = [[t for t in scene.things if t.image == i and t.name == facts.get("name")] for i in (0, 1)]
        match facts["change"]:
            case "nothing":
                assert said == "Nothing changed."
            case "removed":
                assert said == f"The {facts['colour']} {facts['name']} was removed."
                assert len(there[0]) == len(there[1]) + 1
            case "added":
                assert said.endswith(f"{facts['colour']} {facts['name']} was added.")
                assert len(there[0]) == len(there[1]) - 1
            case "recoloured":
                assert said == f"The {facts['name']} turned from {there[0][0].colour} to {there[1][0].colour}."
            case "moved":
                (x0, y0), (x1, y1) = middle(there[0][0]), middle(there[1][0])
                way = ("left" if x1 < x0 else "right") if abs(x1 - x0) > abs(y1 - y0) else "up" if y1 < y0 else "down"
                assert said.removesuffix(".").endswith(way)
                assert min(abs(x1 - x0), abs(y1 - y0)) == 0


def test_which_picture_has_a_thing_is_true_of_both():
    answers = set()
    for scene in scenes(pair, 60):
        sample = one(scene, "which")
        if sample is None:
            continue
        answers.add(sample.answer)
        there = [any(f"{t.colour} {t.name}" in sample.question for t in scene.things if t.image == i) for i in (0, 1)]
        assert sample.answer == {(1, 0): "first", (0, 1): "second", (1, 1): "both", (0, 0): "neither"}[tuple(there)]
    assert answers == {"first", "second", "both", "neither"}


def test_verbs_and_colours_agree_with_their_nouns():
    assert _changes.gone("star", "red", "pl") == "Czerwona gwiazda zniknęła."
    assert _changes.moved("cat", "red", "left", "pl") == "Czerwony kot przesunął się w lewo."
    assert _changes.recoloured("heart", "red", "blue", "ru") == "Сердце было красное, а теперь синее."
    assert _changes.appear("key", "red", "vi") == "Chìa khóa màu đỏ đã xuất hiện."
    assert _changes.appear("cup", "orange", "en") == "An orange cup was added."


# clip


def track(scene, who):
    return [(thing.image, *middle(thing)) for thing in scene.things if thing.attributes["actor"] == who]


@pytest.mark.parametrize("difficulty", ["easy", "ordinary", "repeats"])
def test_things_move_the_way_the_answer_says_and_all_others_stand_still(difficulty):
    for scene in scenes(clip, 12, difficulty=difficulty):
        assert 8 <= len(scene.images) <= 24
        ways = {who: way for who, way, *_ in scene.facts["moves"]}
        for who in range(len(scene.facts["actors"])):
            (_, x0, y0), *_, (_, x1, y1) = track(scene, who)
            if who not in ways:
                assert (x0, y0) == (x1, y1)
                continue
            assert ways[who] == ("left" if x1 < x0 else "right" if x1 > x0 else "up" if y1 < y0 else "down")
            assert abs(x1 - x0) + abs(y1 - y0) >= 0.3 * scene.size[0] - 1
        said = [s.answer for s in clip.samples(scene) if "way" in s.tags]
        assert said == list(ways.values())
        assert all(s.skill == "watch" and s.images == scene.images for s in clip.samples(scene))


def test_what_comes_first_and_last_is_what_the_frames_show():
    found = 0
    for scene in scenes(clip, 60, size=(96, 96)):
        frames = len(scene.images)
        present = {who: [row[0] for row in track(scene, who)] for who in range(len(scene.facts["actors"]))}
        names = [f"{colour} {name}" for name, colour in scene.facts["actors"]]
        late = sorted((rows[0], who) for who, rows in present.items() if rows[0] > 0)
        early = sorted((rows[-1], who) for who, rows in present.items() if rows[-1] < frames - 1)
        for events, verb in ((late, "appear"), (early, "gone")):
            for position, when in ((0, "first"), (-1, "last")):
                sample = one(scene, f"{verb}_{when}")
                assert (sample is None) == (not events)
                if sample:
                    found += 1
                    assert sample.answer == names[events[position][1]]
        sample = one(scene, "move_first")
        if sample:
            found += 1
            paths = {who: track(scene, who) for who in present}
            starts = {
                who: next((frame for frame, *at in path if at != [*path[0][1:]]), frames) for who, path in paths.items()
            }
            assert sample.answer == names[min(starts, key=starts.get)]
    assert found > 10


def test_does_it_move_is_as_often_no_as_yes():
    said = [s.answer for scene in scenes(clip, 120, size=(96, 96)) for s in clip.samples(scene) if "moves" in s.tags]
    assert 0.35 < said.count("yes") / len(said) < 0.65


def test_a_way_is_free_of_other_things():
    for scene in scenes(clip, 25):
        if len(scene.facts["moves"]) == 1:
            who = scene.facts["moves"][0][0]
            boxes = [t.box for t in scene.things if t.attributes["actor"] == who]
            assert all(thing.visible == 1 for thing in scene.things)
            assert swept(boxes[0], boxes[-1])[2] <= scene.size[0]


# probe


def crossings(paths):
    """Proper intersections of two paths, by orientation."""

    def side(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    return sum(
        side(a, b, c) != side(a, b, d) and side(c, d, a) != side(c, d, b)
        for a, b in pairwise(paths[0])
        for c, d in pairwise(paths[1])
    )


def test_probes_ask_what_their_picture_shows():
    topics = set()
    for scene in scenes(probe, 150):
        facts = scene.facts
        (sample,) = probe.samples(scene)
        topics.add(sample.topic)
        assert 1 <= facts["grade"] <= 5
        assert sample.extra["grade"] == facts["grade"]
        match facts["topic"]:
            case "crossings":
                assert sample.answer == str(crossings(facts["paths"]))
            case "count":
                assert sample.answer == str(len(scene.things))
                assert {thing.name for thing in scene.things} == {facts["name"]}
                assert len(scene.things) > 5
            case "digits":
                assert sample.answer == scene.lines[0].string
                assert all(0 <= x <= 192 and 0 <= y <= 192 for x, y in scene.lines[0].quad)
            case "left_right":
                assert sample.answer == ("left" if middle(scene.things[0])[0] < middle(scene.things[1])[0] else "right")
                first, second = (sample.question.find(f"{t.colour} {t.name}") for t in scene.things)
                assert min(first, second) >= 0
            case "absent":
                there = [t for t in scene.things if (t.name, t.colour) == (facts["name"], facts["colour"])]
                assert sample.answer == (
                    "not there" if not there else "left" if middle(there[0])[0] < scene.size[0] / 2 else "right"
                )
    assert topics == {f"probe_{topic}" for topic in probe.TOPICS}


def test_probes_get_harder_with_their_grade():
    measure = {
        "count": lambda scene: -len(scene.things),
        "digits": lambda scene: scene.lines[0].quad[3][1] - scene.lines[0].quad[0][1],
        "left_right": lambda scene: abs(middle(scene.things[0])[0] - middle(scene.things[1])[0]),
    }
    means: dict = {}
    for scene in scenes(probe, 200):
        if scene.facts["topic"] in measure:
            row = means.setdefault(scene.facts["topic"], {}).setdefault(scene.facts["grade"], [])
            row.append(measure[scene.facts["topic"]](scene))
    for grades in means.values():
        values = [np.mean(grades[grade]) for grade in sorted(grades)]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]


def test_a_missing_thing_is_asked_for_as_often_as_one_that_is_there():
    said = [scene.facts["answer"] for scene in scenes(probe, 400, size=(96, 96)) if scene.facts["topic"] == "absent"]
    assert 0.35 < said.count("absent") / len(said) < 0.65
