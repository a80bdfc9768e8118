"""Results in other people's forms: supervision's detections, COCO documents."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imglish.core import geometry
from imglish.core.types import Size

if TYPE_CHECKING:
    import supervision

    from imglish.core.results import Result


def load_supervision() -> Any:
    """The supervision package, without its remark that OpenCV is absent: we do not need it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
        import supervision as module
    return module


def classes(result: Result) -> list[str]:
    """The distinct labels of a result, in order of appearance."""
    from imglish.core.results import TextRegions

    labels = ["text"] * len(result) if isinstance(result, TextRegions) else getattr(result, "labels", ())
    return list(dict.fromkeys(labels))


def detections(result: Result) -> supervision.Detections:
    """Boxes, bitmaps, confidence and class ids; names in `data["class_name"]`, strings read in `data["text"]`."""
    from imglish.core.results import Masks, Regions, TextRegions

    sv = load_supervision()
    if not isinstance(result, Regions) or not len(result):
        empty: supervision.Detections = sv.Detections.empty()
        return empty
    names = classes(result)
    is_text = isinstance(result, TextRegions)
    labels = ["text"] * len(result) if is_text else [item.label for item in result]
    data: dict[str, Any] = {"class_name": np.array(labels)}
    if isinstance(result, TextRegions):
        data["text"] = np.array(result.texts)
        data["xyxyxyxy"] = np.array(result.quads)  # the key by which supervision knows quads
    confidence = getattr(result, "confidence", None)
    made: supervision.Detections = sv.Detections(
        xyxy=geometry.as_boxes([item.box for item in result]).astype(np.float32),
        mask=result.mask if isinstance(result, Masks) else None,
        confidence=None if confidence is None else np.array(confidence, dtype=np.float32),
        class_id=np.array([names.index(label) for label in labels]),
        data=data,
    )
    return made


def coco(
    result: Result, image_id: int, file_name: str, categories: Sequence[str] | None, first_id: int
) -> dict[str, Any]:
    """One image, its annotations (ids from `first_id`), and the categories. A text becomes a COCO caption."""
    from imglish.core.results import Regions, Text, TextRegions

    names = list(categories) if categories is not None else sorted(classes(result))
    width, height = _size(result)
    annotations: list[dict[str, Any]] = []
    if isinstance(result, Regions):
        for number, item in enumerate(result):
            label = "text" if isinstance(result, TextRegions) else item.label
            if label not in names:
                names.append(label)
            annotation = {
                "id": first_id + number,
                "image_id": image_id,
                "category_id": names.index(label) + 1,
                "iscrowd": 0,
                **_place(item.box, item.polygons),
            }
            if isinstance(result, TextRegions):
                annotation["text"] = item.label
            if item.confidence is not None:
                annotation["score"] = item.confidence
            annotations.append(annotation)
    elif isinstance(result, Text):
        annotations.append({"id": first_id, "image_id": image_id, "caption": result.text})
    else:
        annotations.append({"id": first_id, "image_id": image_id, "attributes": getattr(result, "data", {})})
    return {
        "images": [{"id": image_id, "width": width, "height": height, "file_name": file_name}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, 1)],
    }


def _size(result: Result) -> Size:
    """Width and height of the image: as the result says, its receipt, its picture; 0 and 0 where nothing says it."""
    size: Size = getattr(result, "size", (0, 0))
    if all(size):
        return size
    seen = result.receipt.images if result.receipt is not None else ()
    number = getattr(result, "image", 0)
    if number < len(seen):
        return seen[number].original_size
    size = getattr(result.picture, "size", size)
    return size if number == 0 else (0, 0)


def _place(box: Sequence[float], polygons: Sequence[Any]) -> dict[str, Any]:
    """COCO's box (x, y, width, height), outline and area. Area counts the outline where there is one."""
    x1, y1, x2, y2 = box
    pieces = [polygon for polygon in polygons if len(polygon) >= 3]
    covered = sum(geometry.polygon_area(polygon) for polygon in pieces) if pieces else (x2 - x1) * (y2 - y1)
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": [[coordinate for point in polygon for coordinate in point] for polygon in pieces],
        "area": float(covered),
    }
