"""Models that think before they answer: the thought is any text, what follows it has the form, and both have an end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from tokenizers import AddedToken

from imglish.core.errors import InputError
from imglish.core.results import Boxes, Record
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import constrain
from imglish.engine.guides.thought import ThoughtGuide
from imglish.engine.guides.vocabulary import vocabulary
from imglish.engine.load import FAMILIES
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded

CARD = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
JOINED = (">\n", ">x", "y</think>z")  # tokens in which the end of a thought stands together with something else
PICTURE = Image.new("RGB", (120, 90), "red")


@pytest.fixture(scope="module", params=["spelled", "one token"])
def thinker(request: pytest.FixtureRequest) -> Loaded:
    """A small Qwen3-VL whose chat template is that of a Thinking edition; </think> is a token of its own, or is not."""
    made = FAMILIES.get("qwen3_vl")().tiny()
    backend = made.tokenizer.backend_tokenizer
    more = [*JOINED, *(["</think>"] if request.param == "one token" else [])]
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in more])
    torch.manual_seed(0)  # for the rows that are new
    made.model.resize_token_embeddings(backend.get_vocab_size(), mean_resizing=False)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.chat_template = "{{- '<|im_start|>assistant\\n<think>\\n' }}"
    processor = type(made.processor)(tokenizer, made.processor.image_processor)
    made.family.settle({}, processor)
    return Loaded(made.model, processor, made.family, "tiny")


def asked(skill: str = "ask", text: str = "What?", **more: Any) -> Request:
    return Request(skill, (Message("user", (ImagePart(PICTURE), TextPart(text))),), text, **more)


def guide(loaded: Loaded, request: Request) -> ThoughtGuide:
    made = constrain.guide_for(request, loaded)
    assert isinstance(made, ThoughtGuide)
    return made


def written(loaded: Loaded, ids: Sequence[int]) -> str:
    text: str = loaded.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def test_an_answer_in_words_needs_no_guide(thinker: Loaded) -> None:
    assert constrain.guide_for(asked(), thinker) is None


@pytest.mark.parametrize("budget", [1, 30, 120, 400])
def test_the_answer_follows_the_thought_within_the_budget(thinker: Loaded, budget: int) -> None:
    vlm = VLM(thinker, max_tokens=budget, temperature=1.0, seed=budget)
    for _ in range(2):
        said = vlm.ask(PICTURE, "Which colour?", form=["red", "green"])
        assert said.text in ("red", "green")
        _, mark, answer = said.raw.partition("</think>\n\n")
        assert (bool(mark), answer.strip()) == (True, said.text)
        assert said.receipt is not None
        assert said.receipt.generated_tokens <= max(budget, 20)


def test_a_thought_takes_three_quarters_of_the_budget_and_the_cut_is_told(thinker: Loaded) -> None:
    said = VLM(thinker, max_tokens=100, temperature=0.0).ask(PICTURE, "Which?", form=["red", "green"])
    assert said.receipt is not None
    assert 75 <= said.receipt.generated_tokens <= 75 + 20  # the mark and the answer take no more than these
    assert said.receipt.truncated  # a random model's thought has no end of its own
    assert any("raise max_tokens" in problem.message for problem in said.problems)


def test_documents_and_regions_after_a_thought_are_whole(thinker: Loaded) -> None:
    vlm = VLM(thinker, max_tokens=160, temperature=1.0, seed=3)
    record = vlm.extract(PICTURE, CARD)
    assert isinstance(record, Record)
    assert record.parsed
    assert isinstance(record["age"], int)
    assert record.confidence is not None
    assert set(record.confidence) == {"name", "age"}
    boxes = vlm.detect(PICTURE, ["cat"])
    assert isinstance(boxes, Boxes)
    assert boxes.parsed


def test_a_thought_that_ends_by_itself_is_not_cut(thinker: Loaded) -> None:
    made, words = guide(thinker, asked(form=["red", "green"])), vocabulary(thinker)
    thought = b"It is [1, 2] <b> </th <</thin </thinking"
    for place, token in enumerate(words.greedy(thought)):
        assert made.forced() == []
        mask = made.closing(1000 - place)
        assert mask is not None
        assert mask[token]
        assert not (mask & words.end_mask).any()
        made.accept(token)
    mark = words.id("</think>")
    for token in [mark] if mark is not None else words.greedy(b"</think>"):
        made.accept(token)
    assert written(thinker, made.forced()) == "\n\n"
    for token in made.forced():
        made.accept(token)
    mask = made.mask()
    assert mask is not None
    assert {words.bytes[token][:1] for token in mask.nonzero().flatten().tolist()} == {b" ", b"r", b"g"}


def test_a_token_in_which_the_thought_ends_may_have_new_lines_and_no_answer(thinker: Loaded) -> None:
    made, words = guide(thinker, asked(form=["red", "green"])), vocabulary(thinker)
    lines, letter, both = (words.by_text[text.encode()] for text in JOINED)
    mask = made.mask()
    assert mask is not None
    assert mask[[lines, letter, both]].tolist() == [True, True, False]
    for token in words.greedy(b"</think"):
        made.accept(token)
    mask = made.mask()
    assert mask is not None
    assert mask[[lines, letter, both]].tolist() == [True, False, False]
    with pytest.raises(InputError, match="thought"):
        made.accept(letter)
    made.accept(lines)
    assert written(thinker, made.forced()) == "\n"  # the other was written with the mark


def test_the_answer_cannot_end_within_the_thought(thinker: Loaded) -> None:
    made, words = guide(thinker, asked(form=["red", "green"])), vocabulary(thinker)
    for token in (*words.ends, -1, words.width):
        with pytest.raises(InputError, match="thought"):
            made.accept(token)


def test_samples_think_each_for_itself(thinker: Loaded) -> None:
    made, words = guide(thinker, asked(form=["red", "green"])), vocabulary(thinker)
    mark = words.id("</think>")
    end = [mark] if mark is not None else words.greedy(b"</think>")
    for token in end[:-1]:
        made.accept(token)
    other = made.fork()
    other.accept(end[-1])
    made.accept(words.by_text[b"x"])
    assert other.forced()
    assert made.forced() == []
    results = VLM(thinker).run([asked(form=["red", "green"])] * 2, n=2, max_tokens=60, temperature=1.0, seed=1)
    assert len({result.raw for result in results}) == 2
    assert all(re.search(r"</think>\n\n ?(red|green)$", result.raw) for result in results)


def test_a_thought_that_was_cut_off_is_not_taken_for_an_answer(thinker: Loaded) -> None:
    raw = 'Perhaps [{"bbox_2d": [1, 2, 3, 4], "label": "cat"}]'
    found = thinker.family.parse(asked("detect", labels=("cat",)), raw, [(120, 90)])
    assert isinstance(found, Boxes)
    assert len(found) == 0
    assert found.raw == raw
    assert not found.parsed


def test_the_confidence_is_that_of_the_answer_and_not_of_the_thought(thinker: Loaded) -> None:
    raw = "Hm, perhaps?</think>\n\nred"
    ids = thinker.tokenizer(raw)["input_ids"]
    tokens = thinker.tokenizer.convert_ids_to_tokens(ids)
    count = len(thinker.tokenizer("red")["input_ids"])
    logprobs = [-3.0] * (len(ids) - count) + [-0.1] * count
    said = thinker.family.parse(asked(), raw, [(120, 90)], tokens=tokens, logprobs=logprobs)
    assert said.confidence == pytest.approx(float(torch.tensor(-0.1).exp()))
