"""How long prompts are read: in blocks, after what stands before them, and into memory in large pages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import scaled_dot_product_attention

from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import _fast_layers, _pages
from imglish.engine._fast_prompt import read_prompt, room_for
from imglish.engine._fast_turn import BLOCK, Angles
from imglish.engine._pages import PAGE, room
from imglish.engine.load import FAMILIES
from imglish.engine.prefix import WORTH
from imglish.engine.vlm import VLM
from test_engine_fast import KINDS, close, followed, made, padded, reference, stepper_of, texts


def attended(qkv: torch.Tensor, heads: int, before: torch.Tensor) -> torch.Tensor:
    """Each token over all before it and itself, by torch's own attention; queries are scaled already."""
    new = qkv[:, heads:].unflatten(1, (2, -1)).permute(1, 2, 0, 3)
    k, v = torch.cat((before, new), dim=2)
    mask = torch.ones(len(qkv), k.shape[1], dtype=torch.bool).tril(k.shape[1] - len(qkv))
    found = scaled_dot_product_attention(qkv[:, :heads].transpose(0, 1), k, v, mask, scale=1.0, enable_gqa=True)
    return found.transpose(0, 1).reshape(len(qkv), -1)


@given(
    st.integers(1, 300), st.lists(st.integers(0, 90), max_size=3), st.sampled_from([(4, 4), (4, 1), (8, 2), (256, 1)])
)
@example(128, [], (1, 1))
@example(129, [0, 1], (2, 1))
@settings(deadline=None, max_examples=40)
def test_a_prompt_in_blocks_is_attention_over_all_before(count: int, parts: list[int], heads: tuple[int, int]) -> None:
    made = torch.Generator().manual_seed(count)
    many, pairs = heads
    qkv = torch.randn(count, many + 2 * pairs, 8, generator=made)
    before = torch.randn(2, pairs, sum(parts), 8, generator=made)
    room = room_for(qkv, many, sum(parts) + count, torch.float32).fill_(torch.nan)
    found = read_prompt(qkv, many, before.split(parts, dim=2) if parts else [], room)
    torch.testing.assert_close(found, attended(qkv, many, before), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_long_prompts_have_the_logits_of_transformers(kind: str) -> None:
    """Alone, side by side in several lengths, after a prefix of any length, and after tokens of their own."""
    model = made(kind)
    followed(model, stepper_of(model), texts(model, 150), [146])
    followed(model, stepper_of(model), texts(model, 70, 52, 61), [66, 40, 57])
    (start,) = texts(model, 90)
    for shared in (3, 50, 90):
        stepper = stepper_of(model)
        _, slots = stepper.prefill(start[None, :shared])
        rows = [torch.cat((start[:shared], row)) for row in texts(model, 41, 60)]
        followed(model, stepper, rows, [shared + 38, shared + 50], stepper.past(slots[0]))


@pytest.mark.parametrize("prefix", [0, 20])
def test_many_tokens_at_once_after_those_a_row_has_of_its_own(prefix: int) -> None:
    model = made("llama")
    stepper, rows = stepper_of(model), texts(model, 110, 110)
    rows[1][:prefix] = rows[0][:prefix]
    past = stepper.past(stepper.prefill(rows[0][None, :prefix])[1][0]) if prefix else None
    ids, mask = padded([row[prefix:60] for row in rows])
    _, slots = stepper.prefill(ids, mask=mask, past=past)
    wanted = [reference(model, row)[60:105] for row in rows]
    close(torch.stack(list(stepper.extend([row[60:105] for row in rows], slots))), torch.stack(wanted))


def test_a_prompt_is_read_in_blocks_where_little_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = made("llama"), []

    def counted(*args: Any, **more: Any) -> torch.Tensor:
        read.append(1)
        return read_prompt(*args, **more)

    monkeypatch.setattr(_fast_layers, "read_prompt", counted)
    stepper = stepper_of(model)
    (row,) = texts(model, 400)
    _, slots = stepper.prefill(row[None, :300])
    assert len(read) == 2  # each layer but the last, where the last token alone is asked for
    stepper.prefill(row[None, 300:340], past=stepper.past(slots[0]))
    assert len(read) == 2  # so much before so little is not copied


@pytest.mark.parametrize("kind", ["llama", "llama, wide heads", "qwen2, window in upper layers"])
@pytest.mark.parametrize("written", [1, 20, 200])
def test_a_row_goes_on_behind_what_is_kept_of_it(kind: str, written: int) -> None:
    """In the same memory as long as there is room; what is kept stays as it is, whatever the row does."""
    model = made(kind)
    stepper = stepper_of(model)
    (row,) = texts(model, 290)
    _, (slot,) = stepper.prefill(row[None, :50])
    kept = stepper.past(slot)
    before = [layer.clone() for layer in kept.parts[0]]
    wanted = reference(model, row)
    assert stepper.past(slot) is kept
    for token in row[50 : 50 + written]:
        logits = stepper.step(token[None], [slot])
    close(logits[0], wanted[49 + written])
    longer = stepper.past(slot)
    assert (kept.length, longer.length) == (50, 50 + written)
    for past in (longer, kept):  # a text that goes on from either, and one beside it
        one, _ = stepper.prefill(row[None, past.length : 280], past=past)
        close(one[0], wanted[279])
        close(stepper.step(row[None, 50 + written], stepper.fork(slot))[0], wanted[50 + written])
    assert all(torch.equal(layer, old) for layer, old in zip(kept.parts[0], before, strict=True))


def test_a_row_that_forgets_more_than_is_kept_of_it_leaves_that_alone() -> None:
    model = made("llama")
    stepper = stepper_of(model)
    row, other = texts(model, 60, 60)
    _, (slot,) = stepper.prefill(row[None, :50])
    kept = stepper.past(slot)
    before = [layer.clone() for layer in kept.parts[0]]
    stepper.rewind(slot, 30, 30)
    mixed = torch.cat((row[:30], other[:40]))
    close(stepper.extend([mixed[30:].tolist()], [slot])[0], reference(model, mixed)[30:])
    assert all(torch.equal(layer, old) for layer, old in zip(kept.parts[0], before, strict=True))


def test_a_row_that_outgrows_its_memory_does_not_take_along_what_is_kept() -> None:
    model = made("llama")
    stepper = stepper_of(model)
    (row,) = texts(model, 480)
    _, (slot,) = stepper.prefill(row[None, :384])
    kept = stepper.past(slot)
    for token in row[384:464]:
        logits = stepper.step(token[None], [slot])
    close(logits[0], reference(model, row)[463])
    assert sum(kv.nbytes for kv in slot.group.kv) < kept.nbytes / 2
    assert kept.storages.keys() < stepper.past(slot).storages.keys()


def test_what_is_kept_of_a_row_is_not_copied_and_nobody_else_writes_there() -> None:
    model = made("llama")
    stepper = stepper_of(model)
    one, two = texts(model, 60, 60)
    _, (slot,) = stepper.prefill(one[None, :40])
    kept = stepper.past(slot)
    logits, (beside,) = stepper.prefill(two[None, :40])
    assert kept.storages.keys() == {kv.untyped_storage().data_ptr() for kv in slot.group.kv}
    stepper.drop([slot])
    close(logits[0], reference(model, two[:40])[-1])
    close(stepper.step(two[None, 40], [beside])[0], reference(model, two[:41])[-1])
    again, _ = stepper.prefill(one[None, 40:], past=kept)
    close(again[0], reference(model, one)[-1])


@pytest.mark.parametrize("kind", ["llama", "llama, scaled positions"])
def test_positions_turn_a_block_as_they_turn_a_few(kind: str) -> None:
    decoder = stepper_of(made(kind)).decoder
    angles = Angles(decoder, torch.float32)
    heads = decoder.heads + 2 * decoder.key_heads
    qkv = torch.randn(2 * BLOCK + 7, heads, decoder.size)
    at = torch.randperm(len(qkv))
    few = torch.cat([angles.at(part)(some) for part, some in zip(at.split(50), qkv.split(50), strict=True)])
    assert torch.equal(angles.at(at)(qkv), few)
    assert torch.equal(few[:, decoder.heads + decoder.key_heads :], qkv[:, decoder.heads + decoder.key_heads :])


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("count", [0, 7, PAGE // 8, PAGE, 3 * PAGE + 5])
def test_memory_in_large_pages_is_zeros_like_any_other(kind: torch.dtype, count: int) -> None:
    like = torch.ones(3, dtype=kind)
    for _ in range(2):  # memory that is used again, too
        for clean in (True, False):
            found = room((count,), like, clean=clean)
            assert (found.shape, found.dtype, found.device) == ((count,), kind, like.device)
            assert not (clean and found.any())
            found.fill_(1)


@pytest.mark.parametrize("name", ["idefics3", "imglish", "llava", "paligemma", "phi3_v", "qwen2_vl", "qwen3_vl"])
def test_places_that_nothing_was_written_to_are_never_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get(name)().tiny()

    def said() -> list[Any]:
        vlm, images = VLM(loaded), [Image.new("RGB", (90, 90), colour) for colour in ("red", "blue", "green")]
        texts = ("why? " * 40, "who?", "where? " * 9)
        requests = [
            Request("ask", (Message("user", (ImagePart(image), TextPart(text))),), text)
            for image, text in zip(images, texts, strict=True)
        ]
        found: list[Any] = [one.raw for one in vlm.run(requests, max_tokens=6)]
        found += [one.raw for one in vlm.run(requests[:1], max_tokens=90, beams=1)]  # more than the memory has room for
        found += [one.raw for one in vlm.run(requests[:2], max_tokens=5, beams=3)]
        found += [one.raw for one in vlm.run(requests[1:], max_tokens=5, n=3, temperature=1.0, seed=3)]
        found += [vlm.score([requests[1].messages[0]], ["a cat", "a", "two dogs"]).best]
        if "chat" in loaded.family.skills:
            chat = vlm.chat()
            turns = (("what?", images[0]), ("so?", None))
            found += [chat.say(text, image=image, max_tokens=4).raw for text, image in turns]
        return found

    expected = said()
    make = _pages.room

    def dirty(shape: Any, like: torch.Tensor, *, clean: bool) -> torch.Tensor:
        made = make(shape, like, clean=clean)
        return made if clean else made.fill_(torch.nan)

    monkeypatch.setattr(_pages, "room", dirty)
    assert said() == expected


def test_a_start_much_shorter_than_the_prompt_is_read_again() -> None:
    """Two long questions after the same instructions: these are taken over where they are a good part of the prompt."""
    vlm = VLM(FAMILIES.get("llava")().tiny(), max_tokens=2)
    known, read = {}, {}
    for words in (1, 100):
        vlm.forget()
        for colour in ("red", "blue"):
            chat = vlm.chat(system="blue green " * words)
            receipt = chat.say("why? " * 30, image=Image.new("RGB", (90, 90), colour)).receipt
            assert receipt is not None
            known[words], read[words] = receipt.prefix_tokens, receipt.prompt_tokens
    assert known[1] == 0
    assert WORTH * known[100] > read[100]
