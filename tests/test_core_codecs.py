"""Frames and codecs: what goes in comes back, within one quantum, on every size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imglish.core.codecs import Bins, Codec, Identity, Normalised, Pad, Pixels, Resized, Squash, Tiled
from imglish.core.errors import InputError

FRAMES = [
    Identity(),
    Squash((192, 192)),
    Squash((336, 224)),
    Pad((192, 192)),
    Pad((640, 480), "corner"),
    Resized(56 * 56, 1280 * 28 * 28, 28),
    Tiled(448),
    Tiled(224, max_tiles=4, thumbnail=False),
]
QUANTA = [Bins(96), Bins(1000), Bins(1024, centre=False), Normalised(1.0, 2), Normalised(1000, 0), Pixels(), Pixels(1)]
ORDERS = ["xyxy", "yxyx", "xywh", "yxhw"]
sides = st.integers(1, 2000)
shares = st.floats(0, 1)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(FRAMES),
    st.sampled_from(QUANTA),
    st.sampled_from(ORDERS),
    st.tuples(sides, sides),
    st.lists(st.tuples(shares, shares, shares, shares), min_size=1, max_size=4),
)
def test_every_codec_gives_back_boxes_and_points_within_its_quantum(frame, quanta, order, size, corners):
    codec = Codec(frame, quanta, order)
    boxes = np.sort(np.reshape(corners, (-1, 2, 2)), axis=1).reshape(-1, 4) * (*size, *size)
    bound = np.array(codec.quantum(size)) + 1e-6
    for places in (boxes, boxes.reshape(-1, 2, 2)):
        written = codec.encode(places, size)
        back = codec.decode(written, size)
        assert written.shape == back.shape == places.shape
        assert (np.abs(back - places).reshape(-1, 2) <= bound).all()
        assert codec.in_range(written, size).all()
        assert ((back.reshape(-1, 2) >= 0) & (back.reshape(-1, 2) <= size)).all()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FRAMES), st.tuples(sides, sides), st.lists(st.tuples(shares, shares), min_size=1, max_size=4))
def test_every_frame_is_an_exact_affine_map_into_itself(frame, size, points):
    fitted = frame.fit(size)
    original = np.array(points) * size
    framed = fitted.forward(original)
    assert np.allclose(fitted.backward(framed), original, atol=1e-6)
    assert np.allclose(framed, original * fitted.scale + fitted.pad)
    assert (framed >= -1e-6).all()
    assert (framed <= np.array(fitted.size) + 1e-6).all()


@pytest.mark.parametrize("frame", FRAMES, ids=repr)
@pytest.mark.parametrize("size", [(61, 97), (400, 133), (192, 192), (7, 300)])
def test_the_pixels_move_as_the_points_do(frame, size):
    width, height = size
    picture = Image.new("RGB", size, "white")
    box = (width * 2 // 7, height * 2 // 5, width * 6 // 7, height * 4 // 5)
    picture.paste("red", box)
    fitted = frame.fit(size)
    framed = fitted.apply(picture, fill=(0, 0, 255), resample=Image.Resampling.BOX)
    assert framed.size == fitted.size
    pixels = np.asarray(framed).astype(int)
    red = (pixels[..., 0] > 127) & (pixels[..., 1] < 128)
    ys, xs = np.nonzero(red)
    found = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]])
    assert (np.abs(found - fitted.forward(np.reshape(box, (2, 2)))) <= 1.0).all()
    blue = (pixels == (0, 0, 255)).all(axis=2).sum()
    inner = round(width * fitted.scale_x) * round(height * fitted.scale_y)
    assert blue == fitted.size[0] * fitted.size[1] - inner


def test_known_numbers_of_well_known_families():
    box, size = [[100, 50, 300, 200]], (400, 200)
    assert Codec(Squash((768, 768)), Bins(1000)).encode(box, size).tolist() == [[250, 250, 750, 999]]
    assert Codec(Squash((224, 224)), Bins(1024), "yxyx").encode(box, size).tolist() == [[256, 256, 1023, 768]]
    assert Codec(Identity(), Normalised(1000, 0)).encode(box, size).tolist() == [[250, 250, 750, 1000]]
    assert Codec(Pad((336, 336)), Normalised(1.0, 2)).encode(box, size).tolist() == [[0.25, 0.38, 0.75, 0.75]]
    assert Codec(Identity(), Pixels(), "xywh").encode(box, size).tolist() == [[100, 50, 200, 150]]
    assert Codec(Identity(), Pixels(), "yxhw").encode(box, size).tolist() == [[50, 100, 150, 200]]


# by transformers 5.23: smart_resize(h, w, 28, 3136, 1003520), get_optimal_tiled_canvas((h, w), (448, 448), 1, 12)
@pytest.mark.parametrize(
    ("size", "resized", "grid"),
    [
        ((640, 480), (644, 476), (4, 3)),
        ((31, 57), (56, 84), (1, 2)),
        ((3000, 1999), (1204, 812), (3, 2)),
        ((10, 2000), (28, 812), (1, 12)),
        ((28, 28), (56, 56), (1, 1)),
        ((500, 375), (504, 364), (4, 3)),
        ((700, 700), (700, 700), (2, 2)),
    ],
)
def test_sizes_are_those_of_the_published_models(size, resized, grid):
    assert Resized(3136, 1003520, 28).fit(size).size == resized
    assert Tiled(448, 12).fit(size).grid == grid


def test_a_thumbnail_is_one_more_tile_where_there_are_several():
    assert Tiled(448, 12).fit((640, 480)).tiles == 13
    assert Tiled(448, 12, thumbnail=False).fit((640, 480)).tiles == 12
    assert Tiled(448, 12).fit((448, 448)).tiles == 1


def test_padding_is_centred_or_at_the_far_corner():
    assert Pad((200, 200)).fit((100, 50)).pad == (0, 50)
    assert Pad((200, 200), "corner").fit((100, 50)).pad == (0, 0)


def test_a_padded_picture_has_the_scale_its_whole_pixels_have():
    fitted = Pad((192, 192)).fit((31, 57))
    assert fitted.scale == (104 / 31, 192 / 57)
    assert fitted.forward([[31, 57]]).tolist() == [[44 + 104, 192]]


def test_what_lies_outside_the_image_is_moved_in_and_told():
    codec = Codec(Identity(), Normalised(1000, 0))
    written = [[-20, 500, 1200, 900], [0, 0, 1000, 1000]]
    assert codec.decode(written, (100, 100)).tolist() == [[0, 50, 100, 90], [0, 0, 100, 100]]
    assert codec.in_range(written, (100, 100)).tolist() == [False, True]
    assert codec.encode([[-5, 10, 105, 20]], (100, 100)).tolist() == [[0, 100, 1000, 200]]


def test_a_box_on_the_padding_is_out_of_range():
    codec = Codec(Pad((200, 200)), Pixels())
    assert codec.in_range([[0, 0, 10, 10], [10, 60, 20, 70]], (100, 50)).tolist() == [False, True]


def test_infinity_is_moved_in_and_what_is_no_number_is_an_error():
    codec = Codec(Identity(), Pixels())
    assert codec.decode([[0, 0, float("inf"), 5]], (10, 10)).tolist() == [[0, 0, 10, 5]]
    with pytest.raises(InputError, match="numbers"):
        codec.decode([[0, 0, float("nan"), 5]], (10, 10))


def test_one_box_and_no_boxes_keep_their_shape():
    codec = Codec(Squash((192, 192)), Bins(96))
    assert codec.encode([0, 0, 5, 5], (10, 10)).shape == (4,)
    assert codec.decode([], (10, 10)).shape == (0, 4)
    assert codec.encode(np.zeros((0, 2)), (10, 10)).shape == (0, 2)
    assert codec.in_range([], (10, 10)).shape == (0,)


@pytest.mark.parametrize("places", [[1, 2, 3], [[1, 2, 3, 4, 5, 6]], 7])
def test_numbers_that_are_no_places_are_an_error(places):
    with pytest.raises(InputError, match="end in 2 or 4"):
        Codec(Identity(), Pixels()).encode(places, (10, 10))


def test_unknown_orders_and_empty_images_are_errors():
    with pytest.raises(InputError, match="xyxy, yxyx"):
        Codec(Identity(), Pixels(), "xxyy")
    for frame in FRAMES:
        with pytest.raises(InputError, match="0 x 5"):
            frame.fit((0, 5))


def test_a_fit_is_for_its_own_size_only():
    with pytest.raises(InputError, match="made for"):
        Squash((10, 10)).fit((20, 20)).apply(Image.new("RGB", (21, 20)))
