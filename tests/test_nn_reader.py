"""The adapter that takes notes: things in their order, letters in lines, outlines point by point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from imglish.nn import Bridge, BridgeConfig, SightConfig, _things
from imglish.nn._letters import STOP, letters, lines
from imglish.nn._notes import WAVE, Things, alike, waves
from imglish.nn.encoders import Sight
from imglish.nn.reader import Reader

WIDTH = 48


def chained(places: list[tuple[int, int]]) -> list[list[int]]:
    """Lines as lists of columns, without the STOP behind each."""
    slots, begins = lines(*np.array(sorted(places), np.int64).reshape(-1, 2).T)
    found: list[list[int]] = []
    for slot, begin in zip(slots.tolist(), begins.tolist(), strict=True):
        if begin:
            found.append([])
        found[-1].append(slot if slot == STOP else slot % WIDTH)
    assert all(line.index(STOP) == len(line) - 1 for line in found)
    return [line[:-1] for line in found]


def test_letters_side_by_side_are_a_line_and_far_ones_are_two() -> None:
    assert chained([(4, 3), (4, 5), (4, 7), (4, 12), (4, 14)]) == [[3, 5, 7, 12, 14]]
    assert chained([(4, 3), (4, 5), (4, 14), (4, 16)]) == [[3, 5], [14, 16]]


def test_a_letter_that_stands_a_little_lower_stays_in_its_line() -> None:
    assert chained([(4, 3), (4, 5), (5, 7), (4, 9)]) == [[3, 5, 7, 9]]


def test_a_line_may_slant_and_does_not_jump_to_the_next_one() -> None:
    first = [(3, 2), (3, 4), (4, 6), (4, 8), (5, 10)]
    second = [(row + 3, column) for row, column in first]
    assert chained(first + second) == [[2, 4, 6, 8, 10]] * 2


def test_lines_come_from_top_to_bottom_and_from_left_to_right() -> None:
    slots, begins = lines(np.array([9, 2, 2, 2]), np.array([0, 30, 0, 2]))
    assert [divmod(int(slot), WIDTH) for slot in slots if slot != STOP] == [(2, 0), (2, 2), (2, 30), (9, 0)]
    assert begins.tolist() == [1, 0, 0, 1, 0, 1, 0]
    assert (slots == STOP).tolist() == [False, False, True, False, True, False, True]


def test_no_letters_are_no_lines() -> None:
    slots, begins = lines(*letters(np.zeros((4, 8)), np.zeros((4, 7), bool)))
    assert len(slots) == len(begins) == 0


def test_a_letter_read_twice_counts_once_and_two_narrow_ones_are_two() -> None:
    written = np.zeros((6, 8))
    written[2, 3], written[2, 4], written[3, 3] = 0.99, 0.95, 0.97  # one letter on the border of two rows and two slots
    written[5, 1], written[5, 2] = 0.999, 0.99
    twice = np.zeros((6, 7), bool)
    twice[2, 3] = True
    assert np.array(letters(written, twice)).T.tolist() == [[2, 3], [5, 1], [5, 2]]


def test_beside_a_letter_only_a_very_sure_one_counts() -> None:
    written = np.zeros((3, 8))
    written[1, 1], written[1, 2], written[1, 5], written[1, 6] = 0.999, 0.9, 0.9, 0.8
    assert np.array(letters(written, np.zeros((3, 7), bool))).T.tolist() == [[1, 1], [1, 5]]


@pytest.fixture(scope="module")
def sight() -> Sight:
    torch.manual_seed(0)
    names = ("", *"abcdefgh")
    return Sight(SightConfig(image_size=64, letters=names, marks=("", "'"), letter_size=16, middles=True)).eval()


def letters_at(config: SightConfig) -> int:
    return 1 + config.class_size + config.colour_size + 4 + 8 * config.octaves + 16


def options(sight: Sight, most: int = 6) -> dict[str, int]:
    config = sight.config
    return {
        "hidden": 8, "most": most, "cells_at": config.widths[3], "class_size": config.class_size,
        "colour_size": config.colour_size, "octaves": config.octaves, "letter_size": config.letter_size,
        "mark_size": config.mark_size, "things": 4, "points": 8,
    }  # fmt: skip


def reader(sight: Sight, most: int = 6) -> Reader:
    return Reader(sight.config.hidden_size, 32, grid=(4, 4), **options(sight, most))


def written(sight: Sight, *places: tuple[int, int, str]) -> torch.Tensor:
    """The features of a picture in which the encoder reads these letters, (row, slot, letter)."""
    config = sight.config
    dense = torch.zeros(1, 64, config.map_size)
    features = sight.describe(torch.zeros(1, 16, config.widths[3]), dense)
    cells = features[..., config.widths[3] :].unflatten(-1, (4, -1)).clone()
    at = letters_at(config)
    codes = sight.letter_codes.weight.detach().T
    cells[..., at : at + 2 * config.letter_size] = torch.cat((codes[0], codes[0]))
    cells[..., -2:] = 0.0
    cells[..., 0] = cells[..., -3 - config.class_size] = 0.0  # no things: neither present nor a middle
    for row, slot, letter in places:
        cell = cells[0, row // 2 * 4 + slot // 4, row % 2 * 2 + slot // 2 % 2]
        start = at + slot % 2 * config.letter_size
        cell[start : start + config.letter_size] = codes[config.letters.index(letter)]
        cell[slot % 2 - 2] = 1.0
    return torch.cat((features[..., : config.widths[3]], cells.flatten(-2)), -1)


def test_every_letter_has_a_token_that_knows_the_one_before(sight: Sight) -> None:
    adapter = reader(sight).eval()
    ab, xb = (adapter(written(sight, (3, 4, letter), (3, 6, "b")))[0, 16:] for letter in "ac")
    assert torch.equal(ab[3:], adapter.nothing.expand(3, -1))  # behind them the end of their line
    assert (ab[0] - xb[0]).abs().max() > 1e-3
    assert (ab[1] - xb[1]).abs().max() > 1e-3  # b after a is not b after c
    alone = adapter(written(sight, (3, 6, "b")))[0, 16:]
    assert (alone[0] - ab[1]).abs().max() > 1e-3


def test_what_does_not_fit_is_left_out_and_a_batch_equals_its_singles(sight: Sight) -> None:
    adapter = reader(sight, most=3).eval()
    pages = [written(sight, (1, 2, "a"), (1, 4, "b"), (1, 6, "c"), (1, 8, "d")), written(sight, (5, 0, "e"))]
    together = adapter(torch.cat(pages))
    assert together.shape == (2, adapter.tokens, 32) == (2, 16 + 3, 32)
    for page, row in zip(pages, together, strict=True):
        torch.testing.assert_close(adapter(page)[0], row)


def test_the_letters_learn(sight: Sight) -> None:
    adapter = reader(sight)
    adapter(written(sight, (1, 2, "a"), (1, 9, "b"), (1, 11, "c")))[:, 16:].square().sum().backward()
    assert adapter.spell.weight.grad is not None
    assert adapter.spell.weight.grad.abs().max() > 0
    assert adapter.nothing.grad is not None


def test_a_bridge_that_takes_notes_is_saved_and_loaded_exactly(sight: Sight, tmp_path: Path) -> None:
    decoder = LlamaConfig(
        vocab_size=20, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0
    )
    config = BridgeConfig(
        vision_config=sight.config, text_config=decoder, adapter="reader", adapter_options=options(sight, 5),
        image_token_id=19,
        frame_adapter="pool", frame_adapter_options={"window": [2, 2]},
    )  # fmt: skip
    torch.manual_seed(1)
    model = Bridge(config).eval()
    assert (config.image_tokens, config.frame_tokens) == (16 + 5, 4)
    model.save_pretrained(tmp_path)
    again = Bridge.from_pretrained(tmp_path)
    pixels = torch.randn(2, 3, 64, 64)
    for frames in (None, torch.tensor([True, False])):
        for one, other in zip(model.encode_images(pixels, frames), again.encode_images(pixels, frames), strict=True):
            assert torch.equal(one, other)
    assert [len(picture) for picture in model.encode_images(pixels, torch.tensor([True, False]))] == [4, 21]


def seen(sight: Sight, *things: tuple[int, int, int, int, int]) -> torch.Tensor:
    """The features of a picture in which things (left, top, right, bottom in cells of 8, class) fill their boxes."""
    config = sight.config
    features = written(sight)
    cells = features[..., config.widths[3] :].unflatten(-1, (4, -1)).clone()
    codes = sight.class_codes.weight.detach().T
    at = 1 + config.class_size + config.colour_size
    for left, top, right, bottom, name in things:
        for row in range(top, bottom):
            for column in range(left, right):
                cell = cells[0, row // 2 * 4 + column // 2, row % 2 * 2 + column % 2]
                cell[0] = 1.0
                cell[1 : 1 + config.class_size] = codes[name]
                cell[at : at + 4] = torch.tensor([left, top, right, bottom]) / 8
                cell[at + 4 + 8 * config.octaves : at + 20 + 8 * config.octaves] = 1.0
                middle = (row, column) == ((top + bottom) // 2, (left + right) // 2)
                cell[-3 - config.class_size] = float(middle)
    return torch.cat((features[..., : config.widths[3]], cells.flatten(-2)), -1)


@pytest.fixture(scope="module")
def worldly() -> Sight:
    torch.manual_seed(3)
    classes = ("", "cat", "dog", "cow")
    return Sight(SightConfig(image_size=64, classes=classes, letters=("", "a"), letter_size=16, middles=True)).eval()


def noted(sight: Sight, adapter: Reader, *things: tuple[int, int, int, int, int]) -> Things:
    """What is told of a picture."""
    return adapter.told(seen(sight, *things)[0])


def test_things_are_told_apart_and_stand_in_the_order_of_answers(worldly: Sight) -> None:
    told = noted(worldly, reader(worldly), (4, 4, 7, 8, 1), (0, 1, 3, 4, 2), (4, 0, 6, 2, 1))
    assert (told.boxes * 8).round().astype(int).tolist() == [[0, 1, 3, 4], [4, 0, 6, 2], [4, 4, 7, 8]]
    assert alike(told.names) == [0, 1, 1]
    outline = told.traced[0]
    assert outline is not None
    assert (outline.min(0) * 8).round(2).tolist() == [0, 1]
    assert (outline.max(0) * 8).round(2).tolist() == [3, 4]
    assert (outline[0] * 8).round(2).tolist() == [0, 1]  # from its topmost point on


def test_a_note_says_what_stands_before_it_and_how_many_there_are(worldly: Sight) -> None:
    told = noted(worldly, reader(worldly), (0, 0, 2, 2, 1), (3, 0, 5, 2, 2), (0, 5, 2, 7, 1))
    rows, code = told.things, told.names.shape[1] + told.colours.shape[1]
    before = code + 4 * WAVE + 2 * WAVE
    assert rows.shape == (3, Things.size(told.names.shape[1], told.colours.shape[1]))
    assert torch.equal(rows[0, before : before + code], torch.zeros(code))
    assert torch.equal(rows[1:, before : before + code], rows[:-1, :code])
    pair = before + code + 4 * WAVE
    assert rows[:, pair + code].tolist() == [1, 1, 0]  # the third is another of the first
    assert torch.equal(rows[1, pair : pair + code], rows[0, :code])
    kinds, _, _, whole = rows[:, -50:-2].split(12, -1)
    assert kinds.argmax(1).tolist() == [1, 0, 1]  # two, one, two
    assert whole.argmax(1).tolist() == [2, 2, 2]


def test_a_point_of_an_outline_knows_the_one_before(worldly: Sight) -> None:
    told = noted(worldly, reader(worldly), (1, 1, 5, 6, 3))
    points = told.outlines
    assert len(points) == 8
    assert torch.equal(points[0, 2 * WAVE : 4 * WAVE], waves(told.boxes[0, 2:], points))  # the box is written first
    assert torch.equal(points[1:, 2 * WAVE : 4 * WAVE], points[:-1, : 2 * WAVE])
    assert points[:, -2].tolist() == [1, *[0] * 7] and points[:, -1].tolist() == [*[0] * 7, 1]


def test_what_is_not_there_enough_is_no_thing(worldly: Sight) -> None:
    assert len(noted(worldly, reader(worldly)).boxes) == 0
    middle = np.zeros(64)
    middle[9] = 0.4
    assert _things.things(middle, np.ones(64), np.ones((64, 1)), np.tile([0.0, 0, 0.2, 0.2], (64, 1))) == []


def test_things_letters_and_outlines_share_the_room(worldly: Sight) -> None:
    adapter = reader(worldly, most=12).eval()
    row = adapter(seen(worldly, (0, 0, 2, 2, 1), (3, 0, 5, 2, 2)))[0, 16:]
    assert (row - adapter.nothing).abs().sum(1).gt(1e-3).tolist() == [True] * 12  # 2 things, 8 points, 2 of 8
    assert torch.equal(adapter(seen(worldly))[0, 16:], adapter.nothing.expand(12, -1))
