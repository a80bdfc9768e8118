"""Many tokens by compiled code: as near to float32 as bfloat16 is, and the same whatever is read beside them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from imglish.engine import _fast_choice, _fast_layout, _fast_weights, _native, fast
from imglish.engine._branches import PAST, Branches
from imglish.engine._fast_layout import MOST_MANY, Laid, Layout
from imglish.engine._fast_native import seen_by
from imglish.engine._native_products import fits_many
from imglish.engine.fast import LeanStepper, parts
from test_engine_fast import made, reference, stepper_of, texts
from test_engine_native import KINDS, compiled  # noqa: F401  # a fixture

NEAR = 0.07  # of the spread of logits: what weights and keys of bfloat16 cost
pytestmark = [
    pytest.mark.skipif(not _native.reads(), reason="no compiler, or a processor without products of bfloat16"),
    pytest.mark.usefixtures("compiled", "read_by_it"),
]


@pytest.fixture
def read_by_it(compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A layout that is always for compiled code, keys in bfloat16, and calls that read no more than 48 tokens."""
    layout = Layout(native=8, threads=2, many=True)
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: layout)
    monkeypatch.setattr(
        "imglish.engine.fast.choice.attention_of", lambda *about: (torch.bfloat16, _fast_choice.plain_attention)
    )
    monkeypatch.setattr(fast, "AT_ONCE", 48)


def half(kind: str) -> tuple[Any, LeanStepper]:
    model = made(kind).to(torch.bfloat16)
    stepper = stepper_of(model)
    assert stepper.native is not None
    assert stepper.native.reads
    return model, stepper


def wanted_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    found = reference(model.float(), ids)
    model.to(torch.bfloat16)
    return found


def is_near(got: torch.Tensor, wanted: torch.Tensor) -> None:
    assert got.shape == wanted.shape
    assert (got.float() - wanted).abs().mean() / wanted.std() < NEAR


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [2, 16, 33, 100])
def test_a_prompt_has_the_logits_of_transformers(kind: str, length: int) -> None:
    model, _ = half(kind)
    (ids,) = texts(model, length + 3)
    wanted = wanted_of(model, ids)
    stepper = stepper_of(model)
    logits, slots = stepper.prefill(ids[None, :length])
    is_near(logits[0], wanted[length - 1])
    is_near(stepper.extend([ids[length : length + 2].tolist()], slots)[0], wanted[length : length + 2])
    is_near(stepper.step(ids[length + 2 :], slots)[0], wanted[length + 2])


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_unequal_lengths_go_on_from_prefixes_in_parts(kind: str) -> None:
    model, _ = half(kind)
    first, second, *rows = texts(model, 71, 10, 21, 4, 37, 16)
    every = [wanted_of(model, torch.cat((first, second, row)))[81:] for row in rows]
    stepper = stepper_of(model)
    _, (slot,) = stepper.prefill(first[None])
    _, (longer,) = stepper.prefill(second[None], past=stepper.past(slot))
    slots = stepper.fork(longer, len(rows))
    for got, wanted in zip(stepper.extend([row.tolist() for row in rows], slots), every, strict=True):
        is_near(got, wanted)


@pytest.mark.parametrize("threads", [1, 3, 5])
@pytest.mark.parametrize("kind", ["qwen2, window in upper layers", "llama with biases, tied", "qwen3"])
def test_a_token_has_the_same_numbers_whatever_is_read_beside_it(kind: str, threads: int) -> None:
    model, stepper = half(kind)
    before, *rows = texts(model, 18, 7, 20, 5, 16, 11)
    past = stepper.past(stepper.prefill(before[None])[1][0])
    begun = [stepper.prefill(row[:1][None], past=past)[1] for row in rows]
    alone = [stepper.extend([row.tolist()], slots)[0] for row, slots in zip(rows, begun, strict=True)]
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        slots = [stepper.prefill(row[:1][None], past=past)[1][0] for row in rows]
        for got, wanted in zip(stepper.extend([row.tolist() for row in rows], slots), alone, strict=True):
            assert torch.equal(got, wanted)
    finally:
        torch.set_num_threads(was)


def test_positions_of_three_kinds_turn_each_a_part_of_a_head() -> None:
    model, stepper = half("llama")
    (ids,) = texts(model, 30)
    plain, _ = stepper.prefill(ids[None])
    wide = torch.arange(30).expand(3, 1, -1).clone()
    same, _ = stepper.prefill(ids[None], positions=wide)
    assert torch.equal(plain, same)


@pytest.mark.parametrize("rows", [9, 16, 40, MOST_MANY])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_alone_is_that_of_torch(rows: int, has_bias: bool) -> None:
    made = torch.Generator().manual_seed(rows)
    weight, x = (torch.randn(n, 96, generator=made).bfloat16() for n in (160, rows))
    bias = torch.randn(160, generator=made).bfloat16() if has_bias else None
    assert fits_many(weight)
    got = Laid(weight, None, bias, Layout(many=True))(x)
    wanted = torch.nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    assert (got - wanted).abs().max() < 2**-8 * wanted.abs().max()


@pytest.mark.parametrize(("turn", "prompt", "is_taken"), [(0.9, 0.9, True), (0.9, 2.0, False), (2.0, 0.9, False)])
def test_it_is_taken_where_turns_and_prompts_are_quick(
    turn: float, prompt: float, is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(weights: Any, copies: Any, tokens: int, *, native: bool, many: bool = False) -> dict[str, float]:
        found = {"linear": 1.0, "packed": 0.95} | ({"native 1": 0.5, "native 2": 0.5} if native else {})
        return found | ({"many": turn if tokens == _fast_layout.MANY else prompt} if many else {})

    monkeypatch.setattr(_fast_layout, "_seconds", measured)
    found = _fast_layout.layout_of([torch.zeros(64, 64).bfloat16() for _ in range(4)])
    assert found.many == is_taken
    assert not found.many or not (found.one or found.some)  # nothing is kept a second time


def test_texts_are_cut_where_a_call_is_full() -> None:
    assert parts([3, 10, 0, 2], 6) == [[(0, 0, 3), (1, 0, 3)], [(1, 3, 6)], [(1, 9, 1), (3, 0, 2)]]
    assert parts([], 6) == []


def tree_of(past: Any, rows: list[list[int]]) -> tuple[Branches, list[int]]:
    """A tree of these texts; of each token of each text, its place among the logits."""
    tree, asked = Branches(past), list[int]()
    for row in rows:
        tree.begin()
        node = PAST
        for token in row:
            node = tree.grow(node, (token,))
            asked.append(tree.ask(node))
    return tree, asked


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "upper" not in kind])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_tree_has_the_logits_of_each_of_its_texts(kind: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "AT_ONCE", 1000)
    model, stepper = half(kind)
    if "window" in kind:  # that is longer than each text, and shorter than all of them together
        model.config.sliding_window = 140
        model.model.layers[0].mlp.up_proj.weight.data = model.model.layers[0].mlp.up_proj.weight.data.clone()
    first, second, a, b, c, d, e = (one.tolist() for one in texts(model, 37, 20, 50, 9, 3, 70, 8))
    every = [(first, [a, a[:40] + b, c, d, a[:5] + e]), (first + second, [b + a, b[:2] + c]), (second, [c])]
    wanted = [torch.cat([_after(model, before, row) for row in rows]) for before, rows in every]
    stepper = stepper_of(model)
    assert stepper.branches_to(130)
    _, (slot,) = stepper.prefill(torch.tensor([first]))
    _, (longer,) = stepper.prefill(torch.tensor([second]), past=stepper.past(slot))
    _, (other,) = stepper.prefill(torch.tensor([second]))
    trees = [tree_of(stepper.past(one), rows) for one, (_, rows) in zip((slot, longer, other), every, strict=True)]
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = stepper.branch([tree for tree, _ in trees])
        alone = [stepper.branch([tree])[0] for tree, _ in trees]
    finally:
        torch.set_num_threads(was)
    for got, lone, (_, places), exact in zip(found, alone, trees, wanted, strict=True):
        is_near(got[places], exact)
        assert torch.equal(got, lone)


def test_a_tree_that_is_one_text_has_the_numbers_of_that_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "AT_ONCE", 1000)
    model, stepper = half("qwen3")
    before, row = texts(model, 45, 80)
    _, (slot,) = stepper.prefill(before[None])
    past = stepper.past(slot)
    tree, places = tree_of(past, [row.tolist()])
    monkeypatch.setattr(stepper, "_hidden", None)  # torch has no part in it
    got = stepper.branch([tree])[0][places]
    (other,) = stepper.fork(slot)
    assert torch.equal(got, stepper.extend([row.tolist()], [other])[0])
    assert past.length == 45 and slot.length == 45  # nothing of a tree is kept


def _after(model: Any, before: list[int], row: list[int]) -> torch.Tensor:
    return wanted_of(model, torch.tensor(before + row))[len(before) :]


@pytest.mark.parametrize("first", [0, 5, 16, 37])
def test_who_sees_whom_is_told_in_bits(first: int) -> None:
    paths = [[0], [0, 1], [0, 1, 2], [0, 3], [0, 1, 4], *([0, 3, *range(5, 6 + n)] for n in range(40))]
    seen = seen_by(paths, first)
    for token, path in enumerate(paths):
        block, lane = divmod(first % 16 + token, 16)
        assert [key for key in range(seen.shape[1]) if seen[block, key] >> lane & 1] == path
    assert sum(int(bits).bit_count() for bits in seen.flatten().tolist()) == sum(map(len, paths))
