"""Pictures from every source; hostile and damaged ones are refused by name."""

import base64
import http.server
import io
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from imglish.core.errors import ImageError
from imglish.core.images import content_hash, open_frames, open_image

WIDTH, HEIGHT = 24, 16


def scene():
    """Not symmetric in any way: red top left, green top right, blue bottom left, black bottom right."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "black")
    picture.paste((255, 0, 0), (0, 0, 12, 8))
    picture.paste((0, 255, 0), (12, 0, 24, 8))
    picture.paste((0, 0, 255), (0, 8, 12, 16))
    return picture


def encoded(picture=None, kind="PNG", **options):
    stream = io.BytesIO()
    (picture or scene()).save(stream, kind, **options)
    return stream.getvalue()


def corners(picture):
    """The four corners as colour names, clockwise from the top left."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (0, 0, 0): "black", (1, 1, 1): "white"}
    right, bottom = picture.width - 2, picture.height - 2
    places = [(1, 1), (right, 1), (right, bottom), (1, bottom)]
    return [names.get(tuple(int(c > 127) for c in picture.getpixel(place)), "?") for place in places]


UPRIGHT = ["red", "green", "black", "blue"]


def png_header(width, height):
    """A PNG that says how large it is and holds next to nothing."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def file(tmp_path):
    def write(data, name="picture.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


SOURCES = {
    "path": lambda path: path,
    "string": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file object": lambda path: io.BytesIO(path.read_bytes()),
    "PIL image": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
    "array of floats": lambda path: np.asarray(Image.open(path)) / 255,
    "data URL": lambda path: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
    "data URL in lines": lambda path: "data:image/png;base64," + base64.encodebytes(path.read_bytes()).decode(),
}


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_source_gives_the_same_picture(source, file):
    path = file(encoded())
    opened = open_image(SOURCES[source](path))
    assert opened.mode == "RGB"
    assert content_hash(opened) == content_hash(scene())


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG", "ICO"])
def test_every_common_format_opens_whatever_its_name_ends_in(kind, file):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    if kind == "ICO":
        options = {"sizes": [(WIDTH, HEIGHT)]}
    assert corners(open_image(file(encoded(kind=kind, **options), "picture.txt"))) == UPRIGHT


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(turn, kind):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = scene().transpose(undo[turn]) if turn in undo else scene()
    exif = Image.Exif()
    exif[0x0112] = turn
    opened = open_image(encoded(stored, kind, exif=exif))
    assert opened.size == (WIDTH, HEIGHT)
    assert corners(opened) == UPRIGHT
    assert not opened.getexif()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so too
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage that is no TIFF", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_broken_exif_block_does_not_hide_the_picture(exif):
    assert corners(open_image(encoded(kind="JPEG", quality=95, exif=exif))) == UPRIGHT


def test_an_orientation_that_does_not_exist_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert corners(open_image(encoded(kind="JPEG", quality=95, exif=exif))) == UPRIGHT


def test_transparency_lies_on_white():
    clear = scene().convert("RGBA")
    clear.paste((255, 0, 0, 0), (0, 0, 12, 8))
    clear.paste((0, 0, 0, 128), (12, 8, 24, 16))
    for source in (clear, encoded(clear), np.asarray(clear)):
        opened = open_image(source)
        assert corners(opened)[:2] == ["white", "green"]
        assert opened.getpixel((20, 12)) == (127, 127, 127)


def test_transparent_colours_of_palettes_and_greys_lie_on_white():
    palette = scene().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    red = palette.getpixel((1, 1))
    assert corners(open_image(encoded(palette, transparency=red))) == ["white", "green", "black", "blue"]
    assert corners(open_image(encoded(palette))) == UPRIGHT
    assert open_image(encoded(Image.new("L", (4, 4), 90), transparency=90)).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encoded(Image.new("LA", (4, 4), (0, 0)))).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_keep_their_greys():
    ramp = np.array([[0, 257, 32768, 65278, 65535]], dtype=np.uint16)
    expected = [0, 1, 128, 254, 255]
    for source in (encoded(Image.fromarray(ramp)), encoded(Image.fromarray(ramp), "TIFF"), Image.fromarray(ramp), ramp):
        assert np.asarray(open_image(source))[0, :, 0].tolist() == expected


def test_thirty_two_bits_are_told_by_their_range():
    assert np.asarray(open_image(Image.fromarray(np.array([[0, 128, 255]], dtype=np.int32))))[0, :, 0].tolist() == [
        0,
        128,
        255,
    ]
    assert np.asarray(open_image(Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32))))[0, :, 0].tolist() == [
        0,
        128,
        255,
    ]
    wide = np.array([[-1000, 0, 1000]], dtype=np.int32)
    assert np.asarray(open_image(encoded(Image.fromarray(wide), "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


def test_cmyk_is_not_inverted():
    assert corners(open_image(encoded(scene().convert("CMYK"), "JPEG", quality=95))) == UPRIGHT
    assert corners(open_image(encoded(scene().convert("CMYK"), "TIFF"))) == UPRIGHT


def test_one_bit_and_grey_pictures_become_rgb():
    white = Image.new("1", (3, 2), 1)
    assert open_image(encoded(white)).getpixel((2, 1)) == (255, 255, 255)
    assert open_image(np.full((2, 3), 7, dtype=np.uint8)).getpixel((2, 1)) == (7, 7, 7)
    assert open_image(np.full((2, 3, 1), True)).getpixel((2, 1)) == (255, 255, 255)


def animation(kind):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "green", "blue", "white")]
    options = {"lossless": True} if kind == "WEBP" else {}
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame_or_all_in_order(kind):
    data = animation(kind)
    assert corners(open_image(data))[0] == "red"
    assert [frame.getpixel((1, 1)) for frame in open_frames(data)] == [
        (255, 0, 0),
        (0, 128, 0),
        (0, 0, 255),
        (255, 255, 255),
    ]
    assert [frame.getpixel((1, 1)) for frame in open_frames(data, count=2)] == [(255, 0, 0), (255, 255, 255)]


def test_a_caller_may_open_the_animation_and_keep_it():
    with Image.open(io.BytesIO(animation("GIF"))) as mine:
        assert [frame.getpixel((1, 1))[0] for frame in open_frames(mine)] == [255, 0, 0, 255]
        assert open_frames(mine, count=1)[0].getpixel((1, 1)) == (255, 0, 0)
        assert mine.tell() == 0


def test_a_large_page_after_a_small_one_is_refused():
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "TIFF", save_all=True, append_images=[Image.new("RGB", (80, 80))])
    assert open_image(stream.getvalue(), max_pixels=1000).size == (8, 8)
    with pytest.raises(ImageError, match="80 x 80"):
        open_frames(stream.getvalue(), max_pixels=1000)


@pytest.mark.filterwarnings("ignore:Image was not the expected size")  # Pillow says so too
def test_an_icon_that_holds_more_than_it_says_is_refused():
    inside = encoded(Image.new("RGB", (200, 200)))
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22)
    with pytest.raises(ImageError, match="200 x 200"):
        open_image(struct.pack("<HHH", 0, 1, 1) + entry + inside, max_pixels=1000)


def test_frames_may_be_given_one_by_one():
    frames = open_frames([scene(), encoded(), np.asarray(scene())])
    assert len({content_hash(frame) for frame in frames}) == 1
    assert len(frames) == 3
    assert open_frames(encoded())[0].size == (WIDTH, HEIGHT)


def test_all_frames_together_are_bounded():
    with pytest.raises(ImageError, match="4 frames of 24 x 16"):
        open_frames(animation("GIF"), max_pixels=3 * WIDTH * HEIGHT)
    with pytest.raises(ImageError, match="24 x 16"):
        open_frames([scene()] * 4, max_pixels=3 * WIDTH * HEIGHT)
    assert len(open_frames(animation("GIF"), count=3, max_pixels=3 * WIDTH * HEIGHT)) == 3


def test_the_hash_is_of_the_pixels_and_their_shape():
    assert content_hash(open_image(encoded())) == content_hash(open_image(encoded(kind="BMP")))
    other = scene()
    other.putpixel((5, 5), (254, 0, 0))
    assert content_hash(other) != content_hash(scene())
    assert content_hash(Image.new("RGB", (4, 2))) != content_hash(Image.new("RGB", (2, 4)))


def test_the_callers_picture_is_left_as_it_was():
    mine = scene().convert("RGBA")
    opened = open_image(mine)
    opened.putpixel((0, 0), (1, 2, 3))
    rgb = scene()
    open_image(rgb).putpixel((0, 0), (1, 2, 3))
    assert mine.mode == "RGBA"
    assert rgb.tobytes() == scene().tobytes()


def test_a_header_that_claims_900_megapixels_is_refused_before_decoding(file):
    with pytest.raises(ImageError, match=r"bomb\.png.*30000 x 30000 pixels, and at most 89 megapixels") as caught:
        open_image(file(png_header(30000, 30000), "bomb.png"))
    assert "add --max-image-pixels" in caught.value.hint
    assert "imglish.open_image(picture, max_pixels=...)" in caught.value.hint
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("size", [(9500, 9450), (12000, 12000), (2**31 - 1, 2**31 - 1)])
def test_every_size_above_the_limit_is_refused_with_its_size(size):
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]}|damaged"):
        open_image(png_header(*size))


def test_the_limit_can_be_moved_both_ways_and_counts_decoded_pictures_too():
    limit = WIDTH * HEIGHT
    assert open_image(encoded(), max_pixels=limit).size == (WIDTH, HEIGHT)
    for source in (encoded(), scene(), np.asarray(scene())):
        with pytest.raises(ImageError, match="24 x 16"):
            open_image(source, max_pixels=limit - 1)
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match="damaged or cut short"):
        open_image(png_header(30000, 30000), max_pixels=10**9)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_refused_by_name(kind, share, file):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    path = file(data[: int(len(data) * share)], "cut.jpg")
    with pytest.raises(ImageError, match=r"cut\.jpg"):
        open_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "PPM"])
def test_a_file_with_random_bytes_changed_opens_or_is_refused_and_nothing_else(kind):
    rng = np.random.default_rng(1)
    data = np.frombuffer(encoded(kind=kind), dtype=np.uint8)
    for _ in range(150):
        hostile = data.copy()
        hostile[rng.integers(0, len(data), 3)] = rng.integers(0, 256, 3)
        try:
            opened = open_image(hostile.tobytes(), max_pixels=10**6)
        except ImageError:
            continue
        assert opened.mode == "RGB"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "zero bytes"),
        (b"this is text", "not a picture of a known format"),
        (b"Python is text that begins like a PPM", "not a picture|goes on otherwise"),
        (b"%PDF-1.7 ...", "PDF document"),
        (b'<?xml version="1.0"?><svg xmlns="x">', "SVG drawing"),
        (b"\0\0\0\x18ftypheic....", "HEIC"),
        (b"\0\0\0\x18ftypisom....", "video"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\x89PNG\r\n\x1a\n", "goes on otherwise|damaged"),
    ],
)
def test_what_is_no_picture_is_named_with_what_it_is(data, told, file):
    with pytest.raises(ImageError, match=rf"notes\.png.*({told})") as caught:
        open_image(file(data, "notes.png"))
    assert caught.value.exit_status == 2


BEGINNINGS = [
    b"hi\n" * 6, bytes(16), b"\xff" * 16, b"P6 9 9 255 " + bytes(5), b"GIF89a" + bytes(10), b"BM" + bytes(14),
    b"\xff\xd8\xff\xe0" + bytes(12), b"\x89PNG\r\n\x1a\n" + bytes(8), b"II*\0" + bytes(12), b"RIFF    WEBPVP8 ",
    b"\0\0\1\0" + bytes(12), b"\x0a\5\1" + bytes(13), b"qoif" + bytes(12), b"8BPS" + bytes(12), b"\1\xda" + bytes(14),
    b"\0\0\0\x0cjP  \r\n\x87\n", b"(\0\0\0" + bytes(12), b"DDS " + bytes(12), b"icns" + bytes(12),
]  # fmt: skip


@pytest.mark.parametrize("start", BEGINNINGS, ids=repr)
def test_a_few_bytes_are_no_picture_whatever_they_begin_like(start, file):
    for count in range(1, len(start) + 1):
        data = start[:count]
        for source in (data, file(data, "note.png"), "data:;base64," + base64.b64encode(data).decode()):
            with pytest.raises(ImageError, match="cannot read"):
                open_image(source)


def test_paths_that_cannot_be_read_are_named(tmp_path, file):
    with pytest.raises(ImageError, match=r"no file .*missing\.png"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="it is a folder"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="not a regular file"):
        open_image("/dev/zero")
    with pytest.raises(ImageError, match="too long") as caught:
        open_image("x" * 5000)
    assert len(str(caught.value)) < 400
    with pytest.raises(ImageError, match="null byte"):
        open_image("a\0b.png")


def test_more_bytes_than_allowed_are_not_read(file):
    data = encoded()
    sources = [data, io.BytesIO(data), file(data), "data:;base64," + base64.b64encode(data).decode()]
    for source in sources:
        with pytest.raises(ImageError, match="bytes, and at most"):
            open_image(source, max_bytes=20)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("data:image/png;base64,%%%", "base64"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,", "zero bytes"),
        ("data:image/png,hello", "known format"),
        (7, "not a picture"),
        (None, "not a picture"),
        (io.StringIO("text"), "gives str"),
        (np.zeros((3, 8, 8)), "height, width"),
        (np.zeros((0, 8)), "height, width"),
        (np.full((2, 2), 300), "uint8, uint16"),
        (np.full((2, 2), -0.5), "0 to 1"),
        (np.full((2, 2), np.nan), "0 to 1"),
        (np.zeros((2, 2), dtype=complex), "uint8, uint16"),
        (np.full((2, 2), "a"), "uint8, uint16"),
    ],
)
def test_sources_of_no_known_form_are_refused(source, told):
    with pytest.raises(ImageError, match=told):
        open_image(source)


def test_a_closed_file_is_refused():
    stream = io.BytesIO(encoded())
    stream.close()
    with pytest.raises(ImageError, match="closed"):
        open_image(stream)


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/a.png"
            self.send_response(200 if found else 302 if self.path == "/away" else 404)
            if self.path == "/away":
                self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            if found:
                self.wfile.write(encoded())

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_urls_are_opened_only_when_allowed(server):
    with pytest.raises(ImageError, match="URLs are not opened") as caught:
        open_image(f"{server}/a.png")
    assert "add --allow-urls" in caught.value.hint
    assert "imglish.open_image(url, allow_urls=True)" in caught.value.hint  # the skills have no such option
    assert corners(open_image(f"{server}/a.png", allow_urls=True)) == UPRIGHT


def test_urls_that_fail_lead_elsewhere_or_are_too_large_are_refused(server):
    with pytest.raises(ImageError, match="404"):
        open_image(f"{server}/b.png", allow_urls=True)
    with pytest.raises(ImageError, match="cannot download"):
        open_image(f"{server}/away", allow_urls=True)
    with pytest.raises(ImageError, match="more than 20 bytes"):
        open_image(f"{server}/a.png", allow_urls=True, max_bytes=20)
    with pytest.raises(ImageError, match="cannot download"):
        open_image("http://127.0.0.1:1/a.png", allow_urls=True)
