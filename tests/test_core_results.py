"""Results: frozen values, JSON, exports, drawings."""

import json
from dataclasses import FrozenInstanceError, dataclass, replace

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.errors import InputError
from imglish.core.results import (
    Boxes,
    ImageReceipt,
    Masks,
    Problem,
    Receipt,
    Record,
    Text,
    TextRegions,
    result_from_json,
)

RECEIPT = Receipt(
    "imglish",
    "shipped",
    (ImageReceipt((640, 480), (192, 192), (0.3, 0.3), (0.0, 24.0), 1, 144, "abc", None),),
    prompt_tokens=160,
    generated_tokens=9,
    truncated=True,
)
PROBLEM = Problem("truncated", "the answer was cut off", "<loc_1")
SQUARE = ((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0))
SMALL = ((40.5, 5.0), (44.5, 5.0), (44.5, 9.0))
PICTURE = Image.new("RGB", (64, 48), "white")
COMMON = {"receipt": RECEIPT, "problems": (PROBLEM,), "raw": "a cat <loc_1"}

EXAMPLES = [
    Text("two cats", 0.75, **COMMON),
    Text(),
    Boxes([[1, 2, 30, 40.5], [5, 5, 6, 6]], ["cat", "dog"], [0.5, 1 / 3], (64, 48), 1, **COMMON),
    Boxes(size=(64, 48)),
    Masks(polygons=[[SQUARE, SMALL], []], labels=["cat", "dog"], confidence=[0.9, 0.1], size=(64, 48), **COMMON),
    Masks(),
    TextRegions(texts=["ŁÓDŹ", "Đà Nẵng"], quads=[SQUARE, SQUARE], confidence=[1, 0.5], size=(64, 48), **COMMON),
    TextRegions(),
    Record({"name": "Ada", "items": [{"price": 1.5}], "gone": None}, {"type": "object"}, {"name": 0.9}, **COMMON),
    Record(),
]


@pytest.mark.parametrize("result", EXAMPLES, ids=lambda result: type(result).__name__)
def test_every_result_survives_json(result):
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert result_from_json(written) == type(result).from_json(written) == result
    assert written["type"] == result.type


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(), *[st.floats(allow_nan=False, allow_infinity=False)] * 4, st.floats(0, 1)), max_size=6)
)
def test_any_boxes_survive_json_to_the_last_bit(rows):
    boxes = Boxes(xyxy=[row[1:5] for row in rows], labels=[row[0] for row in rows], confidence=[row[5] for row in rows])
    assert result_from_json(json.loads(json.dumps(boxes.to_json()))) == boxes


def test_results_differ_when_any_field_differs():
    boxes = EXAMPLES[2]
    changes = [
        {"xyxy": boxes.xyxy + 1},
        {"labels": ("cat", "cat")},
        {"confidence": None},
        {"size": (64, 49)},
        {"image": 0},
        {"raw": ""},
        {"problems": ()},
        {"receipt": None},
    ]
    for change in changes:
        assert replace(boxes, **change) != boxes
        assert replace(boxes, **change) == replace(boxes, **change)
    assert boxes != Text("two cats")
    assert Boxes() != Masks()


def test_the_picture_is_neither_compared_nor_written():
    picture = Image.new("RGB", (4, 4))
    seen = Text("a", picture=picture)
    assert seen == Text("a")
    assert "picture" not in seen.to_json()
    assert seen.picture is picture


def test_a_result_cannot_be_changed():
    boxes = Boxes(xyxy=[[1, 2, 3, 4]])
    with pytest.raises(FrozenInstanceError):
        boxes.labels = ("cat",)
    with pytest.raises(ValueError, match="read-only"):
        boxes.xyxy[0, 0] = 9
    with pytest.raises(TypeError, match="unhashable"):
        hash(boxes)


def test_a_result_does_not_share_the_array_it_was_made_from():
    mine = np.array([[1.0, 2.0, 3.0, 4.0]])
    boxes = Boxes(xyxy=mine)
    mine[0, 0] = 9
    assert boxes.xyxy.tolist() == [[1, 2, 3, 4]]


def test_nothing_found_is_not_the_same_as_not_parsed():
    nothing, unread = Boxes(raw="none"), Boxes(raw="<lo", problems=(Problem("parse", "a box has one number", "<lo"),))
    assert len(nothing) == len(unread) == 0
    assert nothing.parsed
    assert not unread.parsed
    assert nothing != unread


def test_warnings_are_the_problems_of_readable_answers():
    strange = Problem("out_of_world", "this picture is unlike the ones the model knows")
    result = Text("a cat", problems=(Problem("parse", "leftover text"), strange))
    assert result.warnings == (strange,)
    assert Text("a cat", problems=(strange,)).parsed


def test_boxes_are_walked_and_picked_one_by_one():
    boxes = Boxes(xyxy=[[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 1, 1]], labels=["a", "b", "c"], size=(9, 9))
    assert [(item.label, item.box) for item in boxes][1] == ("b", (5, 6, 7, 8))
    assert boxes[-1].label == "c"
    assert boxes[1:].labels == boxes[[1, 2]].labels == ("b", "c")
    assert boxes[1:].size == (9, 9)
    assert boxes[[]] == Boxes(size=(9, 9))
    with pytest.raises(IndexError):
        boxes[3]


def test_masks_give_bitmaps_and_boxes_on_demand():
    masks = EXAMPLES[4]
    assert masks.mask.shape == (2, 48, 64)
    assert masks.mask[0, 10:30, 10:30].all()
    assert masks.mask[0].sum() > 400
    assert not masks.mask[1].any()
    assert masks.xyxy.tolist() == [[10, 5, 44.5, 30], [0, 0, 0, 0]]
    assert Masks(size=(5, 4)).mask.shape == (0, 4, 5)


def test_masks_from_bitmaps_are_the_bitmaps():
    bitmaps = np.zeros((2, 6, 8), dtype=bool)
    bitmaps[0, 1:4, 2:7] = True
    bitmaps[1, 0, 0] = bitmaps[1, 5, 7] = True
    masks = Masks.from_bitmaps(bitmaps, labels=["a", "b"])
    assert masks.size == (8, 6)
    assert np.array_equal(masks.mask, bitmaps)
    assert len(masks.polygons[1]) == 2


def test_text_regions_join_their_lines():
    regions = EXAMPLES[6]
    assert regions.text == str(regions) == "ŁÓDŹ\nĐà Nẵng"
    assert regions.xyxy.tolist() == [[10, 10, 30, 30]] * 2
    assert regions[1].label == "Đà Nẵng"


class Person(pydantic.BaseModel):
    name: str
    age: int


@dataclass
class Pet:
    name: str
    age: int


@pytest.mark.parametrize("model", [Person, Pet])
def test_a_record_becomes_an_object(model):
    record = Record({"name": "Ada", "age": 36})
    assert record.to_model(model) == model(name="Ada", age=36)
    assert record["name"] == "Ada"
    assert dict(record) == {"name": "Ada", "age": 36}


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Boxes(xyxy=[[1, 2, 3]]), r"xyxy has shape \(1, 3\)"),
        (lambda: Boxes(xyxy=[1, 2, 3, 4]), r"xyxy has shape \(4,\)"),
        (lambda: Boxes(xyxy=[[1, 2, 3, 4], [1]]), "rows of equal length"),
        (lambda: Boxes(xyxy=[[1, 2, 3, float("nan")]]), "finite"),
        (lambda: Boxes(xyxy=[[1, 2, 3, 4]], labels=["a", "b"]), "1 items and 2 labels"),
        (lambda: Boxes(xyxy=[[1, 2, 3, 4]], labels="a"), "string 'a'"),
        (lambda: Boxes(xyxy=[[1, 2, 3, 4]], confidence=[0.5, 0.5]), "2 confidences"),
        (lambda: TextRegions(texts=["a"]), "1 texts and 0 quads"),
        (lambda: result_from_json({"type": "boxen"}), "allowed are text, boxes"),
        (lambda: result_from_json({"type": "text", "colour": "red"}), "colour"),
        (lambda: result_from_json([1]), "allowed are"),
        (lambda: Boxes.from_json(Text("a").to_json()), "'boxes' was expected"),
        (lambda: Text("a").draw(), "keeps no picture"),
        *(
            (lambda scale=scale: Text("a").draw(PICTURE, scale=scale), f"scale is {scale}; allowed are whole numbers")
            for scale in (0, -1, 1.5, True)
        ),
    ],
)
def test_what_is_no_result_is_an_error_that_says_why(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_supervision_gets_boxes_names_and_bitmaps():
    found = EXAMPLES[2].to_supervision()
    assert np.allclose(found.xyxy, EXAMPLES[2].xyxy)
    assert found.data["class_name"].tolist() == ["cat", "dog"]
    assert np.allclose(found.confidence, EXAMPLES[2].confidence)
    assert EXAMPLES[4].to_supervision().mask.sum() == EXAMPLES[4].mask.sum()
    assert EXAMPLES[6].to_supervision().data["text"].tolist() == ["ŁÓDŹ", "Đà Nẵng"]
    for without in (Text("a"), Record(), Boxes()):
        assert len(without.to_supervision()) == 0


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools on numpy 2
def test_coco_documents_are_what_pycocotools_reads(capsys):
    coco = pytest.importorskip("pycocotools.coco")
    document = coco.COCO()
    document.dataset = json.loads(json.dumps(EXAMPLES[4].to_coco(image_id=3)))
    document.createIndex()
    capsys.readouterr()
    first, second = document.loadAnns(document.getAnnIds(imgIds=[3]))
    assert document.loadCats(first["category_id"])[0]["name"] == "cat"
    assert (document.annToMask(first).astype(bool) & ~EXAMPLES[4].mask[0]).sum() <= 8  # it rounds edges its own way
    assert first["bbox"] == [10, 5, 34.5, 25]
    assert first["area"] == 400 + 8
    assert first["score"] == 0.9
    assert second["segmentation"] == []


def test_coco_categories_and_ids_can_go_on_over_images():
    one = Boxes(xyxy=[[0, 0, 2, 3]], labels=["dog"], size=(9, 9)).to_coco(1, categories=["cat", "dog"], first_id=7)
    assert one["annotations"][0]["category_id"] == 2
    assert one["annotations"][0]["id"] == 7
    assert one["annotations"][0]["bbox"] == [0, 0, 2, 3]
    assert one["images"] == [{"id": 1, "width": 9, "height": 9, "file_name": ""}]
    assert one["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def test_coco_ids_start_at_one_because_zero_counts_as_unmatched_there():
    assert Boxes(xyxy=[[0, 0, 2, 3]]).to_coco()["annotations"][0]["id"] == 1


def test_a_text_is_a_coco_caption():
    assert Text("two cats").to_coco(5)["annotations"] == [{"id": 1, "image_id": 5, "caption": "two cats"}]


@pytest.mark.parametrize("result", [Text("two cats"), Record({"name": "Ada"}), Boxes(), Masks(), TextRegions()])
def test_coco_says_how_large_the_image_is_where_anything_knows(result):
    def told(**known):
        image = replace(result, **known).to_coco()["images"][0]
        return image["width"], image["height"]

    assert told(receipt=RECEIPT, picture=PICTURE) == (640, 480)
    assert told(picture=PICTURE) == (64, 48)
    assert told(receipt=Receipt()) == (0, 0)
    json.dumps(replace(result, receipt=RECEIPT).to_coco())


def test_coco_takes_the_size_of_the_image_that_boxes_are_in():
    two = replace(RECEIPT, images=(*RECEIPT.images, ImageReceipt((20, 10), (192, 192))))
    assert Boxes(image=1, receipt=two).to_coco()["images"][0]["width"] == 20
    assert Boxes(image=1, size=(9, 8), receipt=two).to_coco()["images"][0]["width"] == 9


@pytest.mark.parametrize("result", EXAMPLES, ids=lambda result: f"{type(result).__name__}")
def test_every_result_draws_on_a_copy_of_the_picture(result):
    picture = Image.new("RGB", (64, 48), "white")
    drawn = result.draw(picture, scale=2)
    assert drawn.width == 128
    assert drawn.height >= 96
    assert picture.tobytes() == Image.new("RGB", (64, 48), "white").tobytes()
    if len(getattr(result, "xyxy", ())):
        inside = np.asarray(drawn.crop((0, 0, 128, 96)))
        assert (inside != 255).any()


def test_drawing_defaults_to_the_results_own_picture_and_a_readable_size():
    small = Text("a", picture=Image.new("RGB", (100, 50)))
    assert small.draw().width == 700
    assert small.draw(scale=1).width == 100
    assert Boxes(xyxy=[[0, 0, 9, 9]]).draw(Image.new("RGB", (800, 600))).size == (800, 600)


def test_drawing_tells_nothing_found_from_not_parsed():
    picture = Image.new("RGB", (640, 100), "white")
    nothing = Boxes().draw(picture)
    unread = Boxes(problems=(Problem("parse", "a box has one number"),)).draw(picture)
    assert nothing.height == unread.height > 100
    assert nothing.tobytes() != unread.tobytes()


@pytest.mark.parametrize("result", [Text("A cat."), Boxes([[20, 10, 60, 40]]), Record({"name": "Ada"})])
def test_a_reason_to_doubt_an_answer_stands_on_the_picture(result):
    picture = Image.new("RGB", (640, 100), "white")

    def drawn(*kinds):
        return replace(result, problems=tuple(Problem(kind, "why " * 40) for kind in kinds)).draw(picture)

    plain, cut, unlike, both = drawn(), drawn("truncated"), drawn("out_of_world"), drawn("truncated", "out_of_world")
    assert cut.height == unlike.height > plain.height
    assert cut.tobytes() != unlike.tobytes()
    assert both.height > cut.height
    assert drawn("truncated", "truncated").tobytes() == cut.tobytes()
    assert drawn("range").tobytes() == plain.tobytes()


def test_a_box_is_drawn_where_it_is():
    drawn = np.asarray(Boxes(xyxy=[[20, 10, 60, 40]]).draw(Image.new("RGB", (80, 60), "white"), scale=4)).astype(int)
    ys, xs = np.nonzero(drawn.sum(axis=2) < 700)
    assert np.abs(np.array([xs.min(), ys.min(), xs.max(), ys.max()]) - [80, 40, 240, 160]).max() <= 3
