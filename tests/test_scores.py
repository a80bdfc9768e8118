"""Scores of answers to many questions at once: those of each whole text alone, whatever the texts have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from imglish.core.errors import MemoryLimitError
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import _fast_branches
from imglish.engine._branches import PAST, Branches
from imglish.engine._fast_rows import Prefix
from imglish.engine._starts import Starts
from imglish.engine.fast import LeanStepper, lean
from imglish.engine.load import FAMILIES
from imglish.engine.score import _ids
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded

LONG = "Look at all of it for as long as you like, then tell me in a few words what is asked for. " * 4
SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.3, "pad_token_id": 0,
}  # fmt: skip
KINDS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "llama, a key head for each": lambda: LlamaForCausalLM(LlamaConfig(**{**SMALL, "num_key_value_heads": 4})),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SMALL, head_dim=8)),
}


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8))


def asked(text: str, *seeds: int) -> tuple[Message, ...]:
    return (Message("user", (*(ImagePart(picture(seed)) for seed in seeds), TextPart(LONG + text))),)


def alone(loaded: Loaded, messages: tuple[Message, ...], option: str) -> float:
    """The log-likelihood of one answer, read with its whole prompt by the model's own forward."""
    request = Request("chat" if "chat" in loaded.family.skills else "ask", messages, messages[0].text)
    tensors, _ = loaded.family.inputs(loaded, [request])
    ids, more = _ids(loaded, request, option), {}
    for name, tensor in tensors.items():
        fill = ids if name == "input_ids" else [int(name in ("attention_mask", "token_type_ids"))] * len(ids)
        alike = getattr(tensor, "shape", None) == tensors["input_ids"].shape
        more[name] = torch.cat((tensor, torch.tensor([fill], dtype=tensor.dtype)), 1) if alike else tensor
    with torch.inference_mode():
        logits = loaded.model(**more).logits[0, -len(ids) - 1 : -1].float()
    return float(logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None]).sum())


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Branches]:
    """The trees that were read."""
    found: list[Branches] = []
    branch = LeanStepper.branch

    def noted(stepper: LeanStepper, branches: list[Branches]) -> list[torch.Tensor]:
        found.extend(branches)
        return branch(stepper, branches)

    monkeypatch.setattr(LeanStepper, "branch", noted)
    return found


@pytest.mark.parametrize("name", ["idefics3", "imglish", "llava", "paligemma", "qwen2_vl", "qwen3_vl"])
def test_scores_of_many_questions_are_those_of_each_text_alone(name: str, read: list[Branches]) -> None:
    loaded = FAMILIES.get(name)().tiny()
    answers = (("a", "ab", "abc d", "a cat", "ab"), ("no", "a"), ("r",), ("a cat and a dog beside it", "x"))
    questions = [
        (asked(text, *seeds), options)
        for seeds in ((0,), (1,), (2, 0))
        if len(seeds) <= loaded.family.max_images
        for text, options in zip(("Why?", "Who?", "Why not?", "Why?"), answers, strict=True)
    ]
    vlm = VLM(loaded)
    for found in (vlm.score_all(questions), vlm.score_all(questions)):  # the second time all prompts are known
        for (messages, options), scores in zip(questions, found, strict=True):
            expected = [alone(loaded, messages, option) for option in options]
            assert scores.plain == pytest.approx(expected, abs=1e-3)
            assert scores.options == options
    assert read
    for question, scores in zip(questions, found, strict=True):
        assert vlm.score(*question).plain == pytest.approx(scores.plain, abs=2e-4)


@pytest.mark.parametrize("name", ["deepseek_vl", "idefics3", "qwen3_vl"])
def test_pictures_at_the_end_of_a_long_text_that_is_known_are_looked_at(name: str) -> None:
    loaded = FAMILIES.get(name)().tiny()
    told = [(Message("user", (TextPart(9 * LONG), ImagePart(picture(seed)), TextPart("?"))),) for seed in range(4)]
    found = VLM(loaded).score_all([(messages, ("abc", "b")) for messages in told])
    for messages, scores in zip(told, found, strict=True):
        assert scores.plain == pytest.approx([alone(loaded, messages, option) for option in ("abc", "b")], abs=1e-3)
    assert found[-1].prefix_tokens > 1000


def test_what_questions_and_answers_begin_with_is_read_once(read: list[Branches]) -> None:
    loaded = FAMILIES.get("llava")().tiny()
    vlm = VLM(loaded)
    vlm.score(asked("Is it?", 0), ("yes",))
    read.clear()
    turned = [asked(f"{number}. Which one?", 0) for number in (1, 2)]
    vlm.score_all([(messages, ("abcd", "abce")) for messages in turned for _ in range(2)])
    (tree,) = read
    texts = {tuple(tree.tokens[node] for node in path) for path in tree.paths}
    assert len(texts) == len(tree.tokens)  # no beginning is there twice
    ids = [_ids(loaded, Request("ask", turned[0]), option) for option in ("abcd", "abce")]
    assert ids[0][:3] == ids[1][:3]
    assert len(tree.asked) == 2 * len(ids[0])  # of two questions the end, and all but the last token of both answers
    assert len([row for row in tree.rows if row < len(tree.tokens)]) == 2  # the same question again adds nothing


def test_an_answer_of_one_token_needs_no_forward_but_that_of_its_question(read: list[Branches]) -> None:
    loaded = FAMILIES.get("llava")().tiny()
    messages = asked("Which?", 0)
    found = VLM(loaded).score(messages, ("a", "b"))
    assert found.tokens == (1, 1)
    assert not read
    assert found.plain == pytest.approx([alone(loaded, messages, option) for option in "ab"], abs=1e-3)


def texts_of(count: int) -> list[list[int]]:
    made = torch.Generator().manual_seed(3)
    first = torch.randint(3, 60, (30,), generator=made).tolist()
    rest = [torch.randint(3, 60, (2 + 9 * (n % 3),), generator=made).tolist() for n in range(count)]
    return [first[: 12 + 5 * (n % 4)] + one for n, one in enumerate(rest)]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_of_texts_has_the_logits_of_each_text(
    kind: str, parts: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:  # as on devices that have no kernel of it, a few scores at a time
        monkeypatch.setattr(_fast_branches, "_flash", None)
        monkeypatch.setattr(_fast_branches, "SCORES", 256)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = KINDS[kind]().eval()
    stepper = lean(model)
    assert stepper is not None
    texts = texts_of(7)
    _, slots = stepper.prefill(torch.tensor([texts[0][:8]]))
    past = stepper.past(slots[0])
    if parts == 2:
        whole = past.parts[0]
        begin = past.cut(5, 5)
        past = Prefix((*begin.parts, tuple(layer[:, :, 5:].clone() for layer in whole)), 8, 8)
    trees = [Branches(past), Branches(past.cut(3, 3))]
    ends: list[list[int]] = []
    for tree in trees:
        ends.append([])
        for number, text in enumerate(texts):
            if number % 3 != 2:  # every third is of the row before it
                tree.begin()
            ends[-1].append(tree.grow(PAST, text[tree.past.length :]))
            for node in tree.paths[ends[-1][-1]][-3:]:
                tree.ask(node)
    for tree, nodes, logits in zip(trees, ends, stepper.branch(trees), strict=True):
        for text, node in zip(texts, nodes, strict=True):
            with torch.inference_mode():
                wanted = model(torch.tensor([text])).logits[0].float()
            for back, one in enumerate(reversed(tree.paths[node][-3:])):
                torch.testing.assert_close(logits[tree.ask(one)], wanted[len(text) - 1 - back], rtol=0, atol=1e-4)
    stepper.drop(slots)


def test_rows_of_very_unequal_length_are_not_padded_to_the_longest() -> None:
    stepper = lean(KINDS["llama"]().eval())
    assert stepper is not None
    _, slots = stepper.prefill(torch.tensor([[5, 6, 7]]))
    tree = Branches(stepper.past(slots[0]))
    for first, length in ((8, 2), (9, 2), (10, 40), (11, 3)):
        tree.begin()
        tree.ask(tree.grow(PAST, [first, *range(3, 3 + length)]))
    work = _fast_branches.Tree.of(tree, stepper.past(slots[0]), queries=2, like=stepper.like)
    assert [tuple(block.queries.shape) for block in work.blocks] == [(2, 3), (2, 41)]


def test_texts_longer_than_a_window_are_not_read_as_a_tree() -> None:
    stepper = lean(MistralForCausalLM(MistralConfig(**SMALL, sliding_window=16)).eval())
    assert stepper is not None
    assert stepper.branches_to(16)
    assert not stepper.branches_to(17)


@pytest.mark.parametrize("name", ["llava", "florence2", "paligemma"])
def test_questions_are_scored_in_smaller_parts_where_memory_ends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = FAMILIES.get(name)().tiny()
    questions = [(asked(f"{number}?", number % 3), ("red", "two boxes", f"a star {number}")) for number in range(6)]
    expected = VLM(loaded).score_all(questions)
    begin, sizes, most = Starts.begin, list[int](), [2]

    def begun(self: Starts, jobs: Any, *given: Any) -> Any:
        sizes.append(len(jobs))
        if len(jobs) > most[0]:
            raise MemoryError
        return begin(self, jobs, *given)

    monkeypatch.setattr(Starts, "begin", begun)
    found = VLM(loaded).score_all(questions)
    for one, other in zip(found, expected, strict=True):
        assert one.options == other.options
        assert one.plain == pytest.approx(other.plain, abs=1e-3)
    assert max(sizes) == 6
    assert sum(size for size in sizes if size <= 2) == 6
    most[0] = 0
    with pytest.raises(MemoryLimitError, match="3 options of one question"):
        VLM(loaded).score_all(questions)
