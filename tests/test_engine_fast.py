"""The lean stepper: the logits of transformers, over every family that qualifies, and a way back where none should."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from imglish.engine import _fast_choice, _fast_layout, _fast_weights
from imglish.engine._fast_layout import Laid, Layout
from imglish.engine._fast_rows import Prefix
from imglish.engine._fast_weights import Norm, find
from imglish.engine.fast import LeanStepper, lean
from imglish.engine.load import FAMILIES, load_checkpoint
from imglish.engine.prefix import PrefixTree
from imglish.engine.why import why_plain

SMALL: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.3, "max_position_embeddings": 512, "pad_token_id": 0,
}  # fmt: skip
KINDS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "llama with biases, tied": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
    ),
    "llama, scaled positions": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4})
    ),
    "llama, wide heads": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, head_dim=16)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL)),
    "qwen2, window in upper layers": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=6, max_window_layers=1)
    ),
    "mistral, window": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=6)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=8)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SMALL, head_dim=8)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**{**SMALL, "eos_token_id": 1, "bos_token_id": 2})),
}
QUALIFIES = {"deepseek_vl", "idefics3", "imglish", "llava", "llava_next", "minigpt_v2", "paligemma", "qwen2_5_vl"}
QUALIFIES |= {"qwen2_vl", "qwen3_vl", "smolvlm"}


def made(kind: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = KINDS[kind]().eval()
        for name, weight in model.named_parameters():
            if name.endswith(("bias", "norm.weight")):
                torch.nn.init.normal_(weight, 0.5, 0.3)
    return model


@torch.inference_mode()
def reference(model: Any, ids: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
    """Logits (tokens, vocab) of one text by transformers, from its beginning and without a cache."""
    body, head = find(model)
    more: dict[str, Any] = {} if positions is None else {"position_ids": positions}
    if getattr(body.config, "use_bidirectional_attention", False):  # PaliGemma's, which says so of every mask but this
        more["attention_mask"] = torch.full((1, 1, len(ids), len(ids)), torch.finfo(torch.float32).min).triu(1)
    return head(body(input_ids=ids[None], use_cache=False, **more).last_hidden_state)[0].float()


def texts(model: Any, *lengths: int) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(5)
    return [torch.randint(3, 60, (length,), generator=made) for length in lengths]


def padded(rows: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    ids = torch.stack([torch.cat((row.new_zeros(longest - len(row)), row)) for row in rows])
    mask = torch.stack([torch.cat((row.new_zeros(longest - len(row)), row.new_ones(len(row)))) for row in rows])
    return ids, mask


def stepper_of(model: Any) -> LeanStepper:
    stepper = lean(model)
    assert stepper is not None, why_plain(model)
    return stepper


def close(got: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


def followed(model: Any, stepper: LeanStepper, rows: list[torch.Tensor], start: list[int], past: Any = None) -> None:
    """Reads the first `start` tokens of each row at once and steps through the others, comparing every logit."""
    wanted = [reference(model, row) for row in rows]
    shared = 0 if past is None else past.length
    ids, mask = padded([row[shared:end] for row, end in zip(rows, start, strict=True)])
    logits, slots = stepper.prefill(ids, mask=mask, past=past)
    close(logits, torch.stack([one[end - 1] for one, end in zip(wanted, start, strict=True)]))
    for step in range(min(len(row) - end for row, end in zip(rows, start, strict=True))):
        tokens = torch.stack([row[end + step] for row, end in zip(rows, start, strict=True)])
        logits = stepper.step(tokens, slots)
        close(logits, torch.stack([one[end + step] for one, end in zip(wanted, start, strict=True)]))
    stepper.drop(slots)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_transformers_at_every_token_of_every_row(kind: str) -> None:
    model = made(kind)
    followed(model, stepper_of(model), texts(model, 9, 14, 11, 20), [4, 9, 6, 15])
    followed(model, stepper_of(model), texts(model, 12), [1])


@pytest.mark.parametrize("name", FAMILIES.names())
def test_every_family_that_qualifies_gets_the_logits_of_transformers(name: str) -> None:
    model = FAMILIES.get(name)().tiny().model
    assert (why_plain(model) == "") == (name in QUALIFIES), why_plain(model)
    if name in QUALIFIES:
        followed(model, stepper_of(model), texts(model, 9, 7, 12), [5, 3, 8])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_share_a_prefix_have_the_logits_of_the_whole_text(kind: str) -> None:
    model = made(kind)
    stepper = stepper_of(model)
    first, *rows = texts(model, 10, 6, 4, 7)
    _, (slot,) = stepper.prefill(first[None])
    past = stepper.past(slot)
    whole = [torch.cat((first, row)) for row in rows]
    followed(model, stepper, whole, [13, 12, 15], past)
    followed(model, stepper, [torch.cat((first[:7], row)) for row in rows[:1]], [9], past.cut(7, 7))
    close(stepper.step(rows[0][:1], [slot])[0], reference(model, whole[0])[10])


def test_positions_of_pictures_reach_the_decoder_as_they_are_given() -> None:
    model = FAMILIES.get("qwen2_vl")().tiny().model
    (ids,) = texts(model, 12)
    at = torch.tensor([[0, 1, 2, 2, 2, 2, 4, 5, 6, 7, 8, 9], [0, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9]])
    at = torch.stack((at[0], at[1], torch.tensor([0, 1, 2, 3, 2, 3, 4, 5, 6, 7, 8, 9])))
    wanted, stepper = reference(model, ids, at[:, None]), stepper_of(model)
    flat = reference(model, ids, torch.arange(12).expand(3, 1, -1))
    assert (wanted[8] - flat[8]).abs().max() > 1e-2  # else the test would see no difference
    logits, (slot,) = stepper.prefill(ids[None, :8], positions=at[:, None, :8])
    close(logits[0], wanted[7])
    assert (slot.length, slot.position) == (8, 6)
    for place in range(8, 12):
        close(stepper.step(ids[place : place + 1], [slot])[0], wanted[place])


def test_a_prompt_that_sees_itself_in_both_directions_does() -> None:
    model = FAMILIES.get("paligemma")().tiny().model
    (ids,) = texts(model, 9)
    body, head = find(model)
    ahead = torch.full((1, 1, 9, 9), torch.finfo(torch.float32).min).triu(1)
    ahead[..., :6, :6] = 0
    with torch.inference_mode():
        masks: Any = {"full_attention": ahead} if getattr(body.config, "layer_types", None) else ahead
        wanted = head(body(input_ids=ids[None], attention_mask=masks).last_hidden_state)[0]
    stepper = lean(model, two_way=True)
    assert stepper is not None
    logits, (slot,) = stepper.prefill(ids[None, :6])
    close(logits[0], wanted[5])
    for place in range(6, 9):
        close(stepper.step(ids[place : place + 1], [slot])[0], wanted[place])


def test_a_prompt_that_sees_itself_across_windows_is_left_to_transformers() -> None:
    assert lean(made("mistral, window"), two_way=True) is None


def test_what_stands_beside_the_tokens_goes_through_the_model_itself() -> None:
    model = FAMILIES.get("qwen3_vl")().tiny().model
    body, head = find(model)
    (ids,) = texts(model, 9)
    seen = torch.zeros(1, 6, dtype=torch.bool)
    seen[0, 2:5] = True
    deep = [torch.randn(3, 32)]
    with torch.inference_mode():
        told = {"visual_pos_masks": torch.nn.functional.pad(seen, (0, 3)), "deepstack_visual_embeds": deep}
        wanted = head(body(input_ids=None, inputs_embeds=body.embed_tokens(ids)[None], **told).last_hidden_state)[0]
    stepper = stepper_of(model)
    logits, (slot,) = stepper.prefill(ids[None, :6], visual_pos_masks=seen, deepstack_visual_embeds=deep)
    close(logits[0], wanted[5])
    close(stepper.extend([ids[6:].tolist()], [slot])[0], wanted[6:])


@pytest.mark.parametrize("kind", ["llama", "mistral, window"])
def test_rows_take_tokens_in_any_order_leave_and_are_joined(kind: str) -> None:
    model = made(kind)
    stepper = stepper_of(model)
    rows = texts(model, 30, 31, 32, 33)
    wanted = [reference(model, row) for row in rows]
    at = [5, 8, 3, 6]
    ids, mask = padded([row[:end] for row, end in zip(rows[:3], at[:3], strict=True)])
    slots = stepper.prefill(ids, mask=mask)[1]

    def take(*numbers: int) -> None:
        logits = stepper.step(torch.stack([rows[n][at[n]] for n in numbers]), [slots[n] for n in numbers])
        close(logits, torch.stack([wanted[n][at[n]] for n in numbers]))
        for number in numbers:
            at[number] += 1

    take(2, 0)
    take(0, 1, 2)
    stepper.drop([slots[0]])
    slots += stepper.prefill(rows[3][None, :6])[1]
    take(3, 1, 2)
    take(1)
    past = stepper.past(slots[1])
    assert (past.length, past.position) == (at[1], at[1])
    take(2, 1, 3)
    take(3, 2, 1)
    stepper.drop([slots[2]])
    take(1, 3)


def test_several_tokens_at_once_have_the_logits_of_one_after_the_other() -> None:
    model = made("qwen2, window in upper layers")
    stepper = stepper_of(model)
    rows = texts(model, 20, 21, 22)
    ids, mask = padded([rows[0][:4], rows[1][:9], rows[2][:4]])
    slots = stepper.prefill(ids, mask=mask)[1]
    parts = [rows[0][4:12], rows[1][9:10], rows[2][4:12]]
    got = stepper.extend([part.tolist() for part in parts], slots)
    for row, start, one in zip(rows, (4, 9, 4), got, strict=True):
        close(one, reference(model, row)[start : start + len(one)])


def test_forks_go_their_own_ways_and_a_rewound_row_forgets() -> None:
    model = made("llama")
    stepper = stepper_of(model)
    first, one, two = texts(model, 8, 5, 6)
    _, (slot,) = stepper.prefill(first[None])
    twins = stepper.fork(slot, 2)
    for place in range(5):
        got = stepper.step(torch.stack((one[place], two[place])), twins)
        close(got[0], reference(model, torch.cat((first, one)))[8 + place])
        close(got[1], reference(model, torch.cat((first, two)))[8 + place])
    stepper.rewind(twins[0], 10, 10)
    close(stepper.step(two[:1], [twins[0]])[0], reference(model, torch.cat((first, one[:2], two[:1])))[10])
    stepper.rewind(twins[1], 3, 3)
    close(stepper.step(one[:1], [twins[1]])[0], reference(model, torch.cat((first[:3], one[:1])))[3])
    close(stepper.step(one[:1], [slot])[0], reference(model, torch.cat((first, one[:1])))[8])


def test_a_text_outgrows_its_buffer_without_a_change() -> None:
    model = made("llama")
    stepper = stepper_of(model)
    rows = texts(model, 140, 139)
    followed(model, stepper, rows, [3, 2])
    followed(model, stepper, rows[:1], [68])


@pytest.mark.parametrize("how", [_fast_choice.plain_attention, _fast_choice.fused_attention])
def test_either_attention_gives_the_same_logits(how: Any) -> None:
    model = made("qwen2, window in upper layers")
    stepper = stepper_of(model)
    stepper.attention = how
    followed(model, stepper, texts(model, 9, 14), [4, 9])


def test_bfloat16_is_as_near_to_the_truth_as_transformers_is() -> None:
    exact = made("qwen2")
    model = copy.deepcopy(exact).to(torch.bfloat16)
    (ids,) = texts(model, 24)
    wanted = reference(exact, ids)
    theirs = (reference(model, ids) - wanted).abs().mean()
    stepper = stepper_of(model)
    logits, (slot,) = stepper.prefill(ids[None, :12])
    got = torch.cat((logits, *(stepper.step(ids[at : at + 1], [slot]) for at in range(12, 24))))
    assert (got - wanted[11:]).abs().mean() < 1.3 * theirs


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.float64])
def test_a_token_alone_is_normed_as_among_others(kind: torch.dtype) -> None:
    made = torch.Generator().manual_seed(5)
    weight = torch.randn(48, generator=made).to(kind)
    x = torch.randn(3, 48, generator=made, dtype=torch.float64).to(kind)
    norm = Norm(weight, 1e-6, weight.to(torch.promote_types(kind, torch.float32)))
    alone = torch.cat([norm(x[n : n + 1]) for n in range(3)])
    assert alone.dtype == kind
    torch.testing.assert_close(alone, norm(x), rtol=4 * torch.finfo(kind).eps, atol=torch.finfo(kind).eps)


def test_the_layout_is_chosen_on_the_models_own_weights_and_within_the_memory_that_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int]] = []
    best = "packed"

    def measured(
        weights: list[torch.Tensor], copies: list[torch.Tensor] | None, tokens: int, *, native: bool, many: bool = False
    ) -> dict[str, float]:
        seen.append((tokens, sum(weight.nbytes for weight in weights)))
        found = {"linear": 3.0, "own": 2.0, "packed": 3.0} | {best: 1.0}
        return found if copies is not None else {"linear": 3.0, "own": 2.0}

    monkeypatch.setattr(_fast_layout._native, "library", lambda: None)
    monkeypatch.setattr(_fast_layout, "MOST_READ", 4096)
    monkeypatch.setattr(_fast_layout, "_copies", list)
    monkeypatch.setattr(_fast_layout, "_seconds", measured)
    weights = [torch.zeros(40, 32).bfloat16(), torch.zeros(80, 32).bfloat16(), torch.zeros(5, 32).bfloat16()]
    assert _fast_layout.layout_of(weights) == Layout(own_loop=False, one=True, some=True)
    assert seen == [(1, 4096), (8, 4096)]  # no more than is enough: a matrix may be larger
    best = "own"
    assert _fast_layout.layout_of(weights) == Layout(own_loop=True)
    best = "packed"
    monkeypatch.setattr(_fast_layout._budget_room, "room", lambda device: 4 * 125 * 64 - 1)
    assert _fast_layout.layout_of(weights) == Layout(own_loop=True)  # a copy would take too much
    assert _fast_layout.layout_of([torch.zeros(4, 4, dtype=torch.int8)]) == Layout()


def test_the_weights_are_kept_once_and_the_model_goes_on_working(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: Layout())
    model = made("qwen2")
    (ids,) = texts(model, 9)
    before = reference(model, ids)
    stepper_of(model)
    storages = {weight.untyped_storage().data_ptr(): weight.untyped_storage().nbytes() for weight in model.parameters()}
    assert sum(storages.values()) == sum(weight.nbytes for weight in model.parameters())
    assert torch.equal(reference(model, ids), before)
    model.save_pretrained(tmp_path)
    again = Qwen2ForCausalLM.from_pretrained(tmp_path).eval()
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("layout", [Layout(), Layout(True, False, True), Layout(one=True), Layout(False, True, True)])
@pytest.mark.parametrize("kind", ["llama with biases, tied", "phi3", "qwen3"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_any_layout_of_the_weights_gives_the_same_logits(
    kind: str, layout: Layout, precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fast_weights, "layout_of", lambda weights: layout)
    model = made(kind)
    stepper = stepper_of(model.to(precision))
    assert isinstance(stepper.decoder.head, Laid)
    assert stepper.decoder.head.layout == layout
    if precision is torch.float32:
        followed(model, stepper, texts(model, 9, 14), [4, 9])
        followed(model, stepper_of(model), texts(model, 7), [2])
    else:
        (ids,) = texts(model, 12)
        wanted = reference(copy.deepcopy(model).float(), ids)
        logits, slots = stepper.prefill(ids[None, :8])
        got = [logits[0], *(stepper.step(ids[at : at + 1], slots)[0] for at in range(8, 12))]
        far = (torch.stack(got) - wanted[7:]).abs().mean() / wanted.std()
        assert far < 0.03


def test_weights_that_were_trained_or_moved_meanwhile_are_the_ones_used() -> None:
    model = made("gemma")
    (ids,) = texts(model, 9)
    followed(model, stepper_of(model), [ids], [4])
    with torch.no_grad():
        model.model.layers[1].self_attn.k_proj.weight.mul_(1.5)
        model.model.layers[0].input_layernorm.weight.add_(0.5)
    followed(model, stepper_of(model), [ids], [4])
    model.double().float()
    with torch.no_grad():
        model.model.layers[2].mlp.up_proj.weight.mul_(0.5)
    followed(model, stepper_of(model), [ids], [4])


def test_a_model_that_was_asked_in_inference_mode_can_still_be_trained() -> None:
    model = made("llama")
    (ids,) = texts(model, 9)
    with torch.inference_mode():
        followed(model, stepper_of(model), [ids], [4])
    assert why_plain(model) == ""
    model.train()(input_ids=ids[None]).logits.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_a_model_that_is_loaded_in_inference_mode_is_as_any_other() -> None:
    with torch.inference_mode():
        loaded = load_checkpoint(dtype="float32")
    assert why_plain(loaded.model) == ""
    assert not any(weight.is_inference() for weight in loaded.model.state_dict().values())


def test_a_decoder_that_somebody_changed_is_left_to_transformers() -> None:
    model = made("llama")
    assert why_plain(model) == ""
    handle = model.model.layers[1].mlp.register_forward_hook(lambda module, given, output: output * 2)
    assert "listens" in why_plain(model)
    handle.remove()
    model.train()
    assert lean(model) is None
    model.eval()

    class Adapted(torch.nn.Linear):
        pass

    model.model.layers[0].self_attn.q_proj = Adapted(32, 32, bias=False)
    assert "Adapted" in why_plain(model)


def test_lora_in_use_is_left_to_transformers() -> None:
    peft = pytest.importorskip("peft")
    model = made("llama")
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["v_proj"]), model)
    assert lean(model.eval()) is None


def test_the_switch_of_a_library_is_turned_back() -> None:
    before = torch._C._get_mkldnn_enabled()
    with _fast_choice.own_loop(True), _fast_choice.own_loop(True):
        assert not torch._C._get_mkldnn_enabled()
    assert torch._C._get_mkldnn_enabled() == before


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 99))
@settings(deadline=None)
def test_a_prefix_in_parts_is_the_same_keys_and_values_in_few_parts(lengths: list[int], seed: int) -> None:
    whole = torch.randn(2, 3, sum(lengths), 4, generator=torch.Generator().manual_seed(seed))
    prefix = Prefix((), 0, 0)
    for part in whole.split(lengths, dim=2):
        prefix = prefix.then((part, -part), prefix.position + part.shape[2])
    length = seed % sum(lengths) + 1
    for one, count in ((prefix, sum(lengths)), (prefix.cut(length, length), length)):
        assert (one.length, one.position) == (count, count)
        for number, sign in ((0, 1), (1, -1)):
            assert torch.equal(torch.cat(one.layer(number), dim=2), sign * whole[:, :, :count])
    assert len(prefix.parts) <= 1 + math.log2(sum(lengths))


def test_prompts_that_go_on_from_a_prefix_keep_it_once() -> None:
    stepper = lean(made("llama"))
    assert stepper is not None
    _, (slot,) = stepper.prefill(torch.arange(90)[None])
    before = stepper.past(slot)
    _, slots = stepper.prefill(torch.arange(12).view(4, 3), past=before)
    pasts = [stepper.past(slot) for slot in slots]
    tree = PrefixTree()
    for number, past in enumerate(pasts):
        tree.keep("", (*range(90), *range(100 + 3 * number, 103 + 3 * number)), past)
    assert len({slot.group for slot in slots}) == 1  # they still stand side by side
    assert before.nbytes < tree.bytes < 1.5 * before.nbytes
    assert all(past.cut(90, 90).key == before.key for past in pasts)
