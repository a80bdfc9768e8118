"""What a skill returns: Text, Boxes, Masks, TextRegions, Record. The same types carry the truth of a sample.

Every result knows what the model saw (`receipt`), what it wrote (`raw`) and what was wrong with that (`problems`).
"Found nothing" is `result.parsed` and `len(result) == 0`; "could not parse" is `not result.parsed`.
Results are frozen, compare by value (the picture apart) and survive `result_from_json(json.loads(json.dumps(...)))`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
from PIL import Image

from imglish.core import _export, _fields, geometry
from imglish.core.errors import InputError
from imglish.core.receipts import OUT_OF_WORLD as OUT_OF_WORLD
from imglish.core.receipts import PARSE as PARSE
from imglish.core.receipts import RANGE as RANGE
from imglish.core.receipts import TRUNCATED as TRUNCATED
from imglish.core.receipts import ImageReceipt as ImageReceipt
from imglish.core.receipts import Problem as Problem
from imglish.core.receipts import Receipt as Receipt
from imglish.core.receipts import Token as Token
from imglish.core.types import Box, Polygon, Size

if TYPE_CHECKING:
    import supervision

Model = TypeVar("Model")


@dataclass(frozen=True)
class Instance:
    """One item of a result, as iterating gives it."""

    label: str
    box: Box
    confidence: float | None = None
    polygons: tuple[Polygon, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Result:
    """What all results have. `picture` is what `draw` draws on: never compared, never written to JSON.

    Of many results it is the path of a picture that was given as one: so many decoded ones would fill the memory.
    `tokens` are what `raw` was written in, with their log-probabilities, where `logprobs` were asked for.
    """

    type: ClassVar[str]
    receipt: Receipt | None = None
    problems: tuple[Problem, ...] = ()
    raw: str = ""
    tokens: tuple[Token, ...] = field(default=(), repr=False)
    picture: Image.Image | str | Path | None = field(default=None, repr=False)

    @property
    def parsed(self) -> bool:
        """Whether all that the model wrote could be read; what was read is in the result either way."""
        return all(problem.kind != PARSE for problem in self.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not come from parsing: the answer is readable, and there is a reason to doubt it."""
        return tuple(problem for problem in self.problems if problem.kind != PARSE)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [f.name for f in dataclasses.fields(self) if f.name != "picture"]
        return all(_fields.same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; "type" names the result."""
        names = [f.name for f in dataclasses.fields(self) if f.name != "picture"]
        return {"type": self.type, **{name: _fields.plain(getattr(self, name)) for name in names}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The result that `to_json` wrote. Raises InputError when it is of another type or has unknown fields."""
        result = result_from_json(value)
        if not isinstance(result, cls):
            raise InputError(f"this is a {result.type!r} result, and a {getattr(cls, 'type', 'result')!r} was expected")
        return result

    def draw(self, image: Image.Image | None = None, *, scale: int | None = None) -> Image.Image:
        """The picture with this result on it. The picture defaults to the one the result was made from.

        `scale` enlarges by a whole factor; by default small pictures are enlarged until labels can be read.
        """
        from imglish.core import _drawing

        picture = image if image is not None else self.picture
        if picture is None:
            raise InputError("this result keeps no picture", hint="name one: result.draw(image)")
        if scale is not None and (isinstance(scale, bool) or not isinstance(scale, (int, np.integer)) or scale < 1):
            raise InputError(f"scale is {scale!r}; allowed are whole numbers from 1", hint="leave it out for a fit")
        if isinstance(picture, (str, Path)):
            from imglish.core.images import open_image

            picture = open_image(picture)
        return _drawing.draw(self, picture, scale)

    def to_supervision(self) -> supervision.Detections:
        """The regions as `supervision.Detections`; a result without regions gives empty ones."""
        return _export.detections(self)

    def to_coco(
        self, image_id: int = 0, *, file_name: str = "", categories: Sequence[str] | None = None, first_id: int = 1
    ) -> dict[str, Any]:
        """A COCO document of one image. `categories` fixes the order of category ids (1 is the first) over images."""
        return _export.coco(self, image_id, file_name, categories, first_id)


@dataclass(frozen=True, eq=False)
class Text(Result):
    """An answer in words. `str(result)` is the text; `confidence` is the model's own probability of it."""

    type: ClassVar[str] = "text"
    text: str = ""
    confidence: float | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class Regions(Result):
    """What results with places have in common: how many, which, and the image (its number and size) they are in."""

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The items, one by one."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int]) -> Self: ...
    def __getitem__(self, index: int | slice | Sequence[int]) -> Instance | Self:
        if isinstance(index, (int, np.integer)):
            return self.instances[index]
        chosen = range(len(self))[index] if isinstance(index, slice) else [int(i) for i in index]
        return dataclasses.replace(self, **{name: _fields.take(getattr(self, name), chosen) for name in self._per_item})

    _per_item: ClassVar[tuple[str, ...]]

    def _keep(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class Boxes(Regions):
    """Things found, as boxes: `xyxy` (n, 4) in pixels of the original image number `image`, whose `size` is (w, h)."""

    type: ClassVar[str] = "boxes"
    _per_item: ClassVar[tuple[str, ...]] = ("xyxy", "labels", "confidence")
    xyxy: geometry.Floats = ()  # type: ignore[assignment]
    labels: tuple[str, ...] = ()
    confidence: geometry.Floats | None = None
    size: Size = (0, 0)
    image: int = 0

    def __post_init__(self) -> None:
        xyxy = _fields.numbers(self.xyxy, "xyxy", (4,))
        labels = _fields.as_labels(self.labels, len(xyxy))
        confidence = _fields.as_confidence(self.confidence, len(xyxy))
        self._keep(xyxy=xyxy, labels=labels, confidence=confidence, size=_fields.as_size(self.size))

    def __len__(self) -> int:
        return len(self.xyxy)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Label, box and confidence of each."""
        return _instances(self.labels, self.xyxy, self.confidence)


@dataclass(frozen=True, eq=False)
class Masks(Regions):
    """Things found, as outlines: for each, its polygons (several where it is in several pieces)."""

    type: ClassVar[str] = "masks"
    _per_item: ClassVar[tuple[str, ...]] = ("polygons", "labels", "confidence")
    polygons: tuple[tuple[Polygon, ...], ...] = ()
    labels: tuple[str, ...] = ()
    confidence: geometry.Floats | None = None
    size: Size = (0, 0)
    image: int = 0

    def __post_init__(self) -> None:
        polygons = tuple(tuple(_fields.as_polygon(polygon) for polygon in pieces) for pieces in self.polygons)
        labels = _fields.as_labels(self.labels, len(polygons))
        confidence = _fields.as_confidence(self.confidence, len(polygons))
        self._keep(polygons=polygons, labels=labels, confidence=confidence, size=_fields.as_size(self.size))

    @classmethod
    def from_bitmaps(cls, bitmaps: Sequence[geometry.Bitmap], *, tolerance: float = 0.0, **rest: Any) -> Self:
        """Masks from (height, width) bitmaps, by their outer contours; `rest` are the other fields."""
        if len(bitmaps):
            rest.setdefault("size", (bitmaps[0].shape[1], bitmaps[0].shape[0]))
        return cls(polygons=tuple(tuple(geometry.bitmap_to_polygons(b, tolerance)) for b in bitmaps), **rest)

    def __len__(self) -> int:
        return len(self.polygons)

    @cached_property
    def mask(self) -> geometry.Bitmap:
        """Bitmaps (n, height, width), drawn when first asked for."""
        width, height = self.size
        bitmaps = [geometry.polygon_to_bitmap(pieces, self.size) for pieces in self.polygons]
        return np.stack(bitmaps) if bitmaps else np.zeros((0, height, width), dtype=bool)

    @property
    def xyxy(self) -> geometry.Floats:
        """Boxes around the outlines, (n, 4); a thing without an outline has the box 0 0 0 0."""
        around = [geometry.box_of([p for piece in pieces for p in piece] or [(0, 0)]) for pieces in self.polygons]
        return geometry.as_boxes(around)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Label, box, confidence and polygons of each."""
        return _instances(self.labels, self.xyxy, self.confidence, self.polygons)


@dataclass(frozen=True, eq=False)
class TextRegions(Regions):
    """Text read, in reading order: strings and their quads (n, 4, 2), clockwise from where each line begins."""

    type: ClassVar[str] = "text_regions"
    _per_item: ClassVar[tuple[str, ...]] = ("texts", "quads", "confidence")
    texts: tuple[str, ...] = ()
    quads: geometry.Floats = ()  # type: ignore[assignment]
    confidence: geometry.Floats | None = None
    size: Size = (0, 0)
    image: int = 0

    def __post_init__(self) -> None:
        texts = _fields.as_strings(self.texts, "texts")
        quads = _fields.numbers(self.quads, "quads", (4, 2))
        if len(quads) != len(texts):
            raise InputError(f"there are {len(texts)} texts and {len(quads)} quads; each text has one quad")
        confidence = _fields.as_confidence(self.confidence, len(texts))
        self._keep(texts=texts, quads=quads, confidence=confidence, size=_fields.as_size(self.size))

    def __len__(self) -> int:
        return len(self.texts)

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        """The strings, one line each."""
        return "\n".join(self.texts)

    @property
    def xyxy(self) -> geometry.Floats:
        """Boxes around the quads, (n, 4)."""
        return geometry.quad_to_box(self.quads)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """String (as label), box, confidence and quad (as polygon) of each."""
        pieces = tuple((_fields.as_polygon(quad),) for quad in self.quads)
        return _instances(self.texts, self.xyxy, self.confidence, pieces)


@dataclass(frozen=True, eq=False)
class Record(Result):
    """Fields drawn from a picture: `record["name"]`. `confidence`, where known, has a number per field."""

    type: ClassVar[str] = "record"
    data: dict[str, Any] = field(default_factory=dict)
    schema: dict[str, Any] | None = None
    confidence: dict[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", _fields.plain(dict(self.data)))

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __str__(self) -> str:
        return json.dumps(self.data, ensure_ascii=False)

    def keys(self) -> list[str]:
        """Field names, so that `dict(record)` works."""
        return list(self.data)

    def to_model(self, model: Callable[..., Model]) -> Model:
        """An object of a pydantic model, or of any class that takes the fields by keyword (a dataclass)."""
        validate: Callable[..., Model] | None = getattr(model, "model_validate", None)
        return validate(self.data) if validate is not None else model(**self.data)


RESULTS: dict[str, type[Result]] = {kind.type: kind for kind in (Text, Boxes, Masks, TextRegions, Record)}


def result_from_json(value: Mapping[str, Any]) -> Result:
    """Any result from what its `to_json` wrote. Raises InputError on unknown types, fields or shapes."""
    kind = RESULTS.get(value.get("type", "")) if isinstance(value, Mapping) else None
    if kind is None:
        given = value.get("type") if isinstance(value, Mapping) else value
        raise InputError(f"no result of type {given!r}; allowed are {', '.join(RESULTS)}")
    rest = {name: item for name, item in value.items() if name != "type"}
    try:
        if rest.get("receipt") is not None:
            rest["receipt"] = Receipt.from_json(rest["receipt"])
        rest["problems"] = tuple(Problem(**problem) for problem in rest.get("problems", ()))
        rest["tokens"] = tuple(Token.from_json(token) for token in rest.get("tokens", ()))
        return kind(**rest)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"this is not a {kind.type!r} result: {error}") from error


def _instances(
    labels: Sequence[str],
    boxes: geometry.Floats,
    confidence: geometry.Floats | None,
    polygons: Sequence[tuple[Polygon, ...]] | None = None,
) -> tuple[Instance, ...]:
    sure = confidence.tolist() if confidence is not None else [None] * len(labels)
    pieces = polygons if polygons is not None else [()] * len(labels)
    rows = zip(labels, boxes.tolist(), sure, pieces, strict=True)
    return tuple(Instance(label, tuple(box), score, parts) for label, box, score, parts in rows)
