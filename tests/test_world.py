"""What every kind of scene keeps, found by listing the folder; and what scenes of things keep besides."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imglish import world
from imglish.core import geometry, results
from imglish.core.errors import InputError, UnknownName
from imglish.core.types import SKILLS
from imglish.world import _beyond, _draw, _questions, _shapes, _words
from imglish.world._forms import wordings
from imglish.world._scene import HELD_OUT, LANGUAGES, Scene
from reference import write_world_hashes as reference

KINDS = world.kinds()
TOPICS = """
colour presence count caption detect detect_one refer segment relation identify read read_line fields summary chart
change defect defect_box clip unknown
"""


def difficulties(kind: str) -> tuple[str, ...]:
    return importlib.import_module(f"imglish.world.{kind}").DIFFICULTIES


@cache
def scenes(kind: str) -> tuple[Scene, ...]:
    return tuple(world.draw(kind, seed, difficulty=name) for name in difficulties(kind) for seed in (1, 2, 3))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


# every kind


def test_the_bytes_of_a_seed_never_change(kind: str) -> None:
    known = json.loads(reference.FILE.read_text())
    assert reference.hashes(kind) == known[kind]


def test_the_same_arguments_give_the_same_scene_and_another_seed_another(kind: str) -> None:
    first, second = (world.draw(kind, 5) for _ in range(2))
    assert reference.scene_hash(first) == reference.scene_hash(second)
    other = world.draw(kind, 6)
    assert [image.tobytes() for image in first.images] != [image.tobytes() for image in other.images]


def test_pictures_are_rgb_of_the_size_asked_for(kind: str) -> None:
    width, height = importlib.import_module(f"imglish.world.{kind}").SIZE
    for size in ((width, height), (width + 37, height + 19)):
        scene = world.draw(kind, 4, size=size)
        assert scene.size == size
        assert all(image.mode == "RGB" and image.size == size for image in scene.images)


def test_boxes_are_the_boxes_of_bitmaps_and_polygons_lie_in_the_picture(kind: str) -> None:
    for scene in scenes(kind):
        width, height = scene.size
        for thing in scene.things:
            assert 0 <= thing.image < len(scene.images)
            assert thing.bitmap.dtype == bool
            assert thing.bitmap.shape == (height, width)
            assert thing.box == geometry.box_of_bitmap(thing.bitmap)
            assert 0 < thing.visible <= 1
            points = np.array(thing.polygon)
            assert len(points) >= 3
            assert points.min() >= 0
            assert (points <= (width, height)).all()
            if thing.visible == 1:  # what is covered may be in pieces, and the polygon is that of the largest
                drawn = geometry.polygon_to_bitmap([thing.polygon], scene.size)
                assert geometry.mask_iou(drawn[None], thing.bitmap[None])[0, 0] > 0.7


def test_no_pixel_belongs_to_two_things(kind: str) -> None:
    for scene in scenes(kind):
        for image in range(len(scene.images)):
            layers = [thing.bitmap for thing in scene.things if thing.image == image]
            assert not layers or np.sum(layers, axis=0).max() <= 1


def test_lines_of_text_lie_in_the_picture_with_a_centre_for_each_character(kind: str) -> None:
    for scene in scenes(kind):
        for line in scene.lines:
            assert len(line.centres) == len(line.string) > 0
            points = np.array([*line.quad, *line.centres])
            assert (points >= -0.5).all()
            assert (points <= np.array(scene.size) + 0.5).all()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("wording", ["train", "held"])
def test_samples_are_typed_and_answered_in_every_language(kind: str, language: str, wording: str) -> None:
    for scene in scenes(kind):
        samples = world.samples(scene, language=language, wording=wording)
        assert samples
        assert len({sample.id for sample in samples}) == len(samples)
        for sample in samples:
            assert sample.skill in SKILLS
            assert sample.language == language
            assert sample.topic in TOPICS.split() or sample.topic.startswith("probe_")
            assert sample.images
            assert all(isinstance(image, Image.Image) for image in sample.images)
            assert isinstance(sample.truth, results.Result)
            assert sample.truth.parsed
            assert results.result_from_json(json.loads(json.dumps(sample.truth.to_json()))) == sample.truth
            assert "{" not in sample.question
            assert sample.request().skill == sample.skill
            if sample.skill not in ("read", "extract"):
                assert sample.answer, sample


def test_truths_lie_in_the_picture(kind: str) -> None:
    for scene in scenes(kind):
        for sample in world.samples(scene):
            if isinstance(sample.truth, results.Regions):
                assert sample.truth.size == scene.size
                boxes = np.asarray(sample.truth.xyxy).reshape(-1, 4)
                assert (boxes >= -0.5).all()
                assert (boxes[:, 2:] <= np.array(scene.size) + 0.5).all()
                assert (geometry.area(boxes) > 0).all()
            if sample.region is not None:
                assert geometry.area([sample.region])[0] > 0


def test_another_wording_asks_in_other_words(kind: str) -> None:
    def questions(wording: str) -> set[str]:
        return {
            s.question for scene in scenes(kind) for s in world.samples(scene, wording=wording) if s.skill != "count"
        }

    common = {text for text in questions("train") & questions("held") if " " in text}
    assert not common


# the registry's face


def test_seeds_of_the_two_splits_never_meet() -> None:
    train, held = world.seeds("train", HELD_OUT - 2, 2), world.seeds("held", 0, 2)
    assert max(train) < min(held)
    with pytest.raises(InputError):
        world.seeds("train", HELD_OUT - 2, 3)


def test_what_cannot_be_drawn_is_refused_by_name() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'things'"):
        world.draw("thing", 1)
    with pytest.raises(UnknownName, match="Did you mean 'crowded'"):
        world.draw("things", 1, difficulty="crowd")
    for size in ((10, 10), (1000, 100), (9000, 9000)):
        with pytest.raises(InputError, match="size"):
            world.draw("things", 1, size=size)
    with pytest.raises(InputError, match="seed"):
        world.draw("things", -1)
    with pytest.raises(UnknownName, match="language"):
        world.samples(world.draw("things", 1), language="de")  # type: ignore[arg-type]


def test_written_scenes_are_pictures_and_lines_of_json(tmp_path: Path) -> None:
    done: list[int] = []
    path = world.write("things", tmp_path / "new", count=2, seed=3, language="pl", progress=done.append)
    assert done == [1, 2]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    drawn = world.draw("things", 3)
    with Image.open(path.parent / rows[0]["images"][0]) as picture:
        assert picture.convert("RGB").tobytes() == drawn.images[0].tobytes()
    first = world.samples(drawn, language="pl")[0]
    assert rows[0]["question"] == first.question
    assert results.result_from_json(rows[0]["truth"]) == first.truth
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        world.write("things", tmp_path / "file" / "below")


def test_the_names_of_frames_are_in_their_order(tmp_path: Path) -> None:
    rows = world.write("clip", tmp_path, seed=3).read_text(encoding="utf-8").splitlines()
    names = max((json.loads(row)["images"] for row in rows), key=len)
    assert len(names) > 10
    assert names == sorted(names) == sorted(path.name for path in tmp_path.glob("*.png"))


def test_a_list_of_samples_is_whole_or_as_it_was(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    before = world.write("things", tmp_path, seed=3).read_bytes()
    with pytest.raises(InputError, match="already"):
        world.write("things", tmp_path, seed=4)
    with pytest.raises(KeyboardInterrupt):
        world.write("text", tmp_path, seed=4, overwrite=True, progress=stop)
    assert (tmp_path / "samples.jsonl").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    for impossible in ({"count": 0}, {"seed": 2 * HELD_OUT - 1, "count": 2}):
        with pytest.raises(InputError, match=r"count 0|seed"):
            world.write("things", tmp_path / "new", **impossible)
    assert not (tmp_path / "new").exists()


def test_replacing_a_data_set_removes_only_what_was_written_as_one(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    (tmp_path / "text-000009-00.png").touch()  # not in the list
    rows = '{"images": ["photo.png", "things-000003-00.png"]}\n'
    world.write("things", tmp_path, seed=3).write_text(rows, encoding="utf-8")
    world.write("text", tmp_path, seed=4, overwrite=True)
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"photo.png", "text-000009-00.png", "text-000004-00.png", "samples.jsonl"}


def test_a_file_of_ones_own_answers_for_its_scenes(tmp_path: Path) -> None:
    code = Path(world.__file__).with_name("things.py").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(f"{code}\n\ndef samples(*_):\n    return ()\n", encoding="utf-8")
    assert world.samples(world.draw(str(tmp_path / "mine.py"), 7)) == []
    assert world.samples(world.draw("things", 7))
    assert world.write(str(tmp_path / "mine.py"), tmp_path / "new").read_bytes() == b""


# things


def test_every_word_has_a_shape_in_one_piece_and_forms_in_every_language() -> None:
    assert set(_shapes.names()) == set(_words.THINGS)
    for name in _words.THINGS:
        whole = np.asarray(_shapes.master(name)) > 0
        parts = geometry.bitmap_to_polygons(whole)
        assert geometry.polygon_area(parts[0]) > 0.95 * whole.sum(), name
    for language in LANGUAGES:
        names = [_words.noun(name, language) for name in _words.THINGS]
        assert len(set(names)) == len(names)
        told = {_words.phrase(name, colour=c, language=language) for name in _words.THINGS for c in _words.COLOURS}
        assert len(told) == len(_words.THINGS) * len(_words.COLOURS)


def test_no_two_shapes_look_alike_when_small() -> None:
    stamps = {name: _draw.stamp(name, 28) for name in _words.THINGS}
    tall = {}
    for name, stamp in stamps.items():
        sheet = Image.new("L", (40, 40))
        sheet.paste(stamp.solid, ((40 - stamp.size[0]) // 2, (40 - stamp.size[1]) // 2))
        sheet.paste(90, ((40 - stamp.size[0]) // 2, (40 - stamp.size[1]) // 2), stamp.details)
        tall[name] = np.asarray(sheet, float) / 255
    for first in tall:
        for second in tall:
            if first < second:
                assert np.abs(tall[first] - tall[second]).mean() > 0.03, (first, second)


def test_things_stand_out_from_their_ground() -> None:
    for seed in range(40):
        scene = world.draw("things", seed, difficulty="ordinary")
        pixels = np.asarray(scene.images[0], float)
        ground = pixels[~np.any([thing.bitmap for thing in scene.things], axis=0)].mean(axis=0)
        for thing in scene.things:
            assert _draw.distance(_words.RGB[thing.colour], tuple(ground)) > 100, (seed, thing.name, thing.colour)


def test_things_have_the_colour_that_is_told() -> None:
    for seed in range(30):
        scene = world.draw("things", seed, difficulty="easy")
        for thing in scene.things:
            pixels = np.asarray(scene.images[0])[thing.bitmap].astype(int)
            near = [_draw.distance(_words.RGB[thing.colour], tuple(pixel)) < 80 for pixel in pixels]
            assert np.mean(near) > 0.25, (seed, thing.name, thing.colour)


def test_difficulties_are_what_they_say() -> None:
    for seed in range(25):
        easy, ordinary, crowded, repeats = (
            world.draw("things", seed, difficulty=d).things for d in difficulties("things")
        )
        assert 1 <= len(easy) <= 3
        assert all(thing.visible == 1 for thing in easy)
        assert 1 <= len(ordinary) <= 8
        assert all(thing.visible >= 0.85 for thing in ordinary)
        assert 4 <= len(crowded) <= 14
        assert all(thing.visible >= 0.5 for thing in crowded)
        assert Counter(thing.name for thing in repeats).most_common(1)[0][1] >= 2


@pytest.mark.parametrize("size", [(96, 192), (192, 96), (640, 480), (64, 64), (333, 217)])
def test_things_are_drawn_at_any_size(size: tuple[int, int]) -> None:
    for difficulty in difficulties("things"):
        scene = world.draw("things", 11, size=size, difficulty=difficulty)
        assert scene.things
        assert scene.images[0].size == size


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_caption_says_exactly_what_is_there(language: str) -> None:
    for scene in scenes("things"):
        for sample in world.samples(scene, language=language):
            if sample.topic == "caption":
                assert Counter(world.mentions(sample.answer, language)) == Counter(sample.extra["objects"])
                assert Counter(sample.extra["objects"]) == Counter(thing.name for thing in scene.things)


def test_presence_is_as_often_yes_as_no() -> None:
    said = Counter(s.answer for n in range(30) for s in world.samples(world.draw("things", n)) if s.topic == "presence")
    assert said["yes"] == said["no"] > 0


def test_counts_and_boxes_agree_with_the_things() -> None:
    for scene in scenes("things"):
        plurals = {word.plural: name for name, word in _words.NOUNS.items()}
        for sample in world.samples(scene):
            if sample.skill == "count" and sample.question not in _words.EVERYTHING["en"]:
                name = plurals.get(sample.question, sample.question)
                assert int(sample.answer) == sum(thing.name == name for thing in scene.things)
            if sample.topic == "detect" and not sample.labels:
                assert sorted(map(tuple, sample.truth.xyxy)) == sorted(thing.box for thing in scene.things)
            if "absent" in sample.tags and sample.skill in ("detect", "ground", "segment"):
                assert len(sample.truth) == 0
                assert sample.answer == "nothing"


def test_a_mask_is_the_bitmap_of_the_thing_that_is_meant() -> None:
    for scene in scenes("things"):
        for sample in world.samples(scene):
            if sample.topic == "segment" and "absent" not in sample.tags:
                bitmap = scene.things[sample.extra["thing"]].bitmap
                assert geometry.mask_iou(sample.truth.mask, bitmap[None])[0, 0] > 0.9


def test_a_phrase_fits_one_thing_only() -> None:
    for scene in scenes("things"):
        for sample in world.samples(scene):
            if sample.topic in ("refer", "segment") and "absent" not in sample.tags:
                head = sample.answer.split(" of the ")[0]
                fitting = [t for t in scene.things if f" {head}".endswith(f" {t.name}") or "thing" in head]
                if {"name"} & set(sample.tags):
                    assert len(fitting) == 1
                if {"colour", "thing"} & set(sample.tags):
                    assert sum(t.colour in sample.answer for t in fitting) == 1
                meant = scene.things[sample.extra["thing"]]
                if "size" in sample.tags:
                    most = max if "largest" in sample.answer else min
                    assert meant is most(fitting, key=lambda t: t.bitmap.sum() / t.visible)
                if "leftmost" in sample.answer:
                    assert meant is min(fitting, key=lambda t: t.box[0] + t.box[2])


def test_held_wordings_are_never_used_in_training() -> None:
    for table in (_questions.TABLE, _beyond.TABLE):
        for topic, languages in table.items():
            assert set(languages) == set(LANGUAGES)
            for language in LANGUAGES:
                train, held = (wordings(table, topic, language, wording) for wording in ("train", "held"))
                assert not {w.lower().strip("?.") for w in train} & {w.lower().strip("?.") for w in held}
                tone = topic in ("positive", "negative")
                least = (4, 1) if language != "en" or tone else (8, 2)
                assert (len(train) >= least[0], len(held) >= least[1]) == (True, True), (topic, language)


def test_the_vocabulary_keeps_its_order() -> None:
    words = world.words()
    assert words["things"][:3] == ("circle", "square", "triangle")
    assert words["things"].index("cat") == 56
    assert words["colours"][:3] == ("red", "orange", "yellow")
