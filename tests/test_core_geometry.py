"""Boxes, polygons and bitmaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes, label

from imglish.core.geometry import (
    area,
    bitmap_to_polygons,
    box_of,
    box_of_bitmap,
    box_to_quad,
    clip,
    clip_points,
    iou,
    mask_iou,
    polygon_area,
    polygon_to_bitmap,
    quad_to_box,
    resample,
    simplify,
)

bitmaps = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))
numbers = st.floats(-50, 150)
boxes = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=5)


def disc(radius, size=(64, 48), centre=(30, 24)):
    y, x = np.mgrid[: size[1], : size[0]]
    return (x + 0.5 - centre[0]) ** 2 + (y + 0.5 - centre[1]) ** 2 < radius**2


def test_area_and_iou_of_known_boxes():
    assert area([[0, 0, 2, 3], [5, 5, 4, 9]]).tolist() == [6, 0]
    assert iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2]]).tolist() == [[1, 2 / 6, 0]]


def test_no_boxes_give_empty_answers_and_empty_boxes_no_overlap():
    assert area([]).shape == (0,)
    assert iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]).tolist() == [[0]]


@settings(deadline=None)
@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(a, b):
    overlap = iou(a, b)
    assert np.array_equal(overlap, iou(b, a).T)
    assert ((overlap >= 0) & (overlap <= 1)).all()


@settings(deadline=None)
@given(boxes)
def test_clipping_stays_in_the_image_and_is_done_once(a):
    once = clip(a, (100, 80))
    assert (once >= 0).all()
    assert (once <= [100, 80, 100, 80]).all()
    assert np.array_equal(once, clip(once, (100, 80)))
    assert np.array_equal(clip_points(np.reshape(a, (-1, 2, 2)), (100, 80)).reshape(-1, 4), once)


@settings(deadline=None)
@given(boxes)
def test_a_box_is_its_quads_box_when_it_is_not_inside_out(a):
    upright = np.sort(np.reshape(a, (-1, 2, 2)), axis=1).reshape(-1, 4)
    assert np.array_equal(quad_to_box(box_to_quad(upright)), upright)
    assert box_of(box_to_quad(upright)[0]) == tuple(upright[0])


def test_a_quad_goes_clockwise_from_the_top_left():
    assert box_to_quad([[1, 2, 5, 7]]).tolist() == [[[1, 2], [5, 2], [5, 7], [1, 7]]]


def test_polygon_area_does_not_mind_the_direction():
    triangle = [(0, 0), (4, 0), (0, 3)]
    assert polygon_area(triangle) == polygon_area(triangle[::-1]) == 6


def test_a_pixel_belongs_to_the_polygon_that_holds_its_centre():
    assert polygon_to_bitmap([(1, 1), (3, 1), (3, 2), (1, 2)], (4, 3)).astype(int).tolist() == [
        [0, 0, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 0],
    ]
    assert not polygon_to_bitmap([(0.6, 0.6), (1.4, 0.6), (1.4, 1.4), (0.6, 1.4)], (2, 2)).any()


def test_several_polygons_are_united_even_where_they_overlap():
    square, other = [(0, 0), (3, 0), (3, 3), (0, 3)], [(1, 1), (4, 1), (4, 4), (1, 4)]
    both = polygon_to_bitmap([square, other], (4, 4))
    assert np.array_equal(both, polygon_to_bitmap(square, (4, 4)) | polygon_to_bitmap(other, (4, 4)))
    assert both[1, 1]


def test_two_polygons_that_share_an_edge_leave_no_gap_and_no_overlap():
    corners = [(0.0, 0.0), (20.0, 0.0), (20.0, 20.0), (0.0, 20.0)]
    middle = (7.3, 11.9)
    parts = [
        polygon_to_bitmap([a, b, middle], (20, 20)) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    assert (np.sum(parts, axis=0) == 1).all()


def test_a_polygon_outside_the_image_is_cut_off():
    assert polygon_to_bitmap([(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)], (5, 4)).all()
    assert not polygon_to_bitmap([(10, 10), (20, 10), (20, 20)], (5, 4)).any()
    assert not polygon_to_bitmap([(-9, 1), (-5, 1), (-5, 3)], (5, 4)).any()


@pytest.mark.parametrize("polygons", [[], [[]], [(1, 1)], [(0, 0), (5, 5)], [(0, 0), (float("nan"), 1), (2, 2)]])
def test_what_encloses_nothing_fills_nothing(polygons):
    assert not polygon_to_bitmap(polygons, (5, 5)).any()


def test_the_filled_polygon_has_about_its_area():
    rng = np.random.default_rng(5)
    for _ in range(50):
        triangle = rng.uniform(0, 200, (3, 2))
        pixels = polygon_to_bitmap(triangle, (200, 200)).sum()
        around = np.abs(np.diff(triangle, axis=0, append=triangle[:1])).sum()
        assert abs(pixels - polygon_area(triangle.tolist())) <= around / 2 + 1


@settings(max_examples=300, deadline=None)
@given(bitmaps)
def test_a_bitmap_comes_back_exactly_with_its_holes_filled(bitmap):
    height, width = bitmap.shape
    polygons = bitmap_to_polygons(bitmap)
    assert np.array_equal(polygon_to_bitmap(polygons, (width, height)), binary_fill_holes(bitmap))


@settings(max_examples=200, deadline=None)
@given(bitmaps)
def test_there_is_one_contour_for_each_part_that_no_other_part_encloses(bitmap):
    filled = binary_fill_holes(bitmap)
    outermost = label(filled, structure=np.ones((3, 3)))[1]
    found = bitmap_to_polygons(bitmap)
    assert len(found) >= outermost
    areas = [polygon_area(polygon) for polygon in found]
    assert areas == sorted(areas, reverse=True)
    if len(found) == outermost:
        assert sum(areas) == filled.sum()


def test_pixels_that_touch_at_a_corner_are_one_part():
    assert len(bitmap_to_polygons(np.eye(4, dtype=bool))) == 1
    assert len(bitmap_to_polygons(np.eye(4, dtype=bool)[::-1])) == 1
    assert len(bitmap_to_polygons(np.array([[1, 0, 1]], dtype=bool))) == 2


def test_a_part_inside_a_hole_has_a_contour_of_its_own_and_the_hole_has_none():
    rings = np.ones((7, 7), dtype=bool)
    rings[1:6, 1:6] = False
    rings[3, 3] = True
    assert [polygon_area(polygon) for polygon in bitmap_to_polygons(rings)] == [49, 1]


def test_a_rectangle_has_four_corners_on_pixel_edges():
    bitmap = np.zeros((9, 9), dtype=bool)
    bitmap[2:5, 3:8] = True
    (polygon,) = bitmap_to_polygons(bitmap)
    assert set(polygon) == {(3, 2), (8, 2), (8, 5), (3, 5)}
    assert len(polygon) == 4
    assert box_of(polygon) == box_of_bitmap(bitmap) == (3, 2, 8, 5)


def test_an_empty_bitmap_has_no_polygon_and_no_box():
    assert bitmap_to_polygons(np.zeros((3, 4), dtype=bool)) == []
    assert box_of_bitmap(np.zeros((3, 4), dtype=bool)) is None


def test_small_parts_can_be_left_out():
    bitmap = disc(10)
    bitmap[0, 0] = True
    assert len(bitmap_to_polygons(bitmap)) == 2
    assert len(bitmap_to_polygons(bitmap, min_area=2)) == 1


@pytest.mark.parametrize("radius", [6, 12, 22, 90])
def test_tolerance_trades_points_for_little_shape(radius):
    size = (200, 200)
    bitmap = disc(radius, size, (99, 101))
    (exact,), (coarse,) = bitmap_to_polygons(bitmap), bitmap_to_polygons(bitmap, 1.0)
    assert len(coarse) < len(exact) / 2
    assert mask_iou(polygon_to_bitmap(coarse, size)[None], bitmap[None])[0, 0] > 0.9
    corners = np.array(coarse)
    for x, y in exact:  # no dropped corner is farther than the tolerance from the new outline
        assert _distance((x, y), corners) <= 1.0 + 1e-9


def _distance(point, polygon):
    start, step = polygon, np.roll(polygon, -1, axis=0) - polygon
    along = ((np.array(point) - start) * step).sum(axis=1) / (step**2).sum(axis=1)
    near = start + np.clip(along, 0, 1)[:, None] * step
    return np.sqrt(((near - point) ** 2).sum(axis=1)).min()


@settings(deadline=None)
@given(st.integers(3, 40))
def test_simplify_keeps_at_most_so_many_of_the_polygons_own_points_in_order(points):
    (polygon,) = bitmap_to_polygons(disc(20))
    short = simplify(polygon, points)
    assert len(short) == min(points, len(polygon))
    places = [polygon.index(point) for point in short]
    assert places == sorted(places)


def test_sixteen_points_are_enough_for_a_disc():
    bitmap = disc(20)
    short = simplify(bitmap_to_polygons(bitmap)[0], 16)
    assert mask_iou(polygon_to_bitmap(short, (64, 48))[None], bitmap[None])[0, 0] > 0.95


def test_simplify_drops_points_on_a_straight_line_only_when_it_must_or_may():
    square = [(0, 0), (5, 0), (10, 0), (10, 10), (0, 10)]
    assert simplify(square, 4) == ((0, 0), (10, 0), (10, 10), (0, 10))
    assert simplify(square, 8, tolerance=0.1) == ((0, 0), (10, 0), (10, 10), (0, 10))
    assert len(simplify(square, 8)) == 5


def test_resample_walks_the_outline_in_equal_steps():
    square = [(0, 0), (10, 0), (10, 10), (0, 10)]
    assert resample(square, 4) == tuple(square)
    points = np.array(resample(square, 8))
    assert points.tolist() == [[0, 0], [5, 0], [10, 0], [10, 5], [10, 10], [5, 10], [0, 10], [0, 5]]
    assert resample([(0, 0), (0, 0), (0, 0)], 3) == ((0, 0),) * 3


def test_mask_iou_of_known_bitmaps():
    left, all_, none = np.zeros((3, 2, 4), dtype=bool)
    left[:, :2] = True
    all_[:] = True
    assert mask_iou(np.stack([left, none]), np.stack([left, all_, none])).tolist() == [[1, 0.5, 0], [0, 0, 0]]
