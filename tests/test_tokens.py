"""What results tell of their tokens: texts, log-probabilities, the most probable ones; and options of one request."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from PIL import Image
from tokenizers import decoders, models
from transformers import PreTrainedTokenizerFast

from imglish.core.errors import InputError
from imglish.core.results import Result, Token, result_from_json
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine import beams
from imglish.engine._opening import open_request
from imglish.engine._told import most_probable, tokens_of
from imglish.engine.beams import settings
from imglish.engine.generate import Decoded, Options, append, detokenize
from imglish.engine.load import FAMILIES
from imglish.engine.loop import Loop
from imglish.engine.vlm import VLM
from imglish.families._base import Loaded

LETTERS = "Où est l'été? 日本語 🦊🏳️‍🌈 naïve\n\n  two  spaces"


@pytest.fixture(scope="module", params=FAMILIES.names())
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return FAMILIES.get(request.param)().tiny()


@pytest.fixture(scope="module")
def imglish() -> VLM:
    return VLM(FAMILIES.get("imglish")().tiny(), max_tokens=12)


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8))


def ask(text: str = "How many?", seed: int = 0) -> Request:
    return Request("ask", (Message("user", (ImagePart(picture(seed)), TextPart(text))),), text)


def joined_of(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens)


def joined(result: Result) -> str:
    return joined_of(result.tokens)


def same_after_json(result: Result) -> bool:
    return result_from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result


def test_they_are_what_transformers_own_loop_computes(loaded: Loaded) -> None:
    request = ask("How many cats are in this picture?")
    config = settings(loaded, Options(max_tokens=8), 1)
    banned = loaded.tokenizer.convert_tokens_to_ids(list(loaded.family.banned(request)))
    config.suppress_tokens = sorted({*(config.suppress_tokens or ()), *banned}) or None
    tensors, _ = loaded.family.inputs(loaded, [request])
    with torch.inference_mode():
        made = loaded.model.generate(**tensors, generation_config=config)
    (result,) = VLM(loaded).run([request], max_tokens=8, beams=1, logprobs=3)
    assert result.tokens and result.receipt is not None and len(result.tokens) == result.receipt.generated_tokens
    for token, scores in zip(result.tokens, made.scores, strict=False):
        wanted = scores[0].float().log_softmax(-1)
        assert token.logprob == pytest.approx(float(wanted.max()), abs=1e-3) and token.id == int(wanted.argmax())
        best = [value for value in wanted.topk(3).values.tolist() if math.isfinite(value)]
        assert [one.logprob for one in token.top] == pytest.approx(best, abs=1e-3)
        assert token.top[0].id == token.id and token.top[0].logprob == pytest.approx(token.logprob, abs=1e-5)


def test_their_texts_make_up_the_answer(loaded: Loaded) -> None:
    vlm = VLM(loaded, max_tokens=10, logprobs=2)
    (greedy,), (drawn,) = vlm.run([ask()], beams=1), vlm.run([ask()], temperature=2.0, seed=3)
    (searched,) = vlm.run([ask()], beams=3)
    for result in (greedy, drawn, searched):
        assert joined(result) == result.raw and all(len(token.top) <= 2 for token in result.tokens)
        assert same_after_json(result)
    for token in (*greedy.tokens, *drawn.tokens, *searched.tokens):
        pairs = [(one.id, one.logprob) for one in token.top]
        assert [value for _, value in pairs] == sorted((value for _, value in pairs), reverse=True)
        assert token.id not in dict(pairs) or dict(pairs)[token.id] == pytest.approx(token.logprob, abs=1e-4)
        assert all(value <= 1e-6 for _, value in pairs) and all(not one.top for one in token.top)
    assert any(token.id != token.top[0].id for token in drawn.tokens)
    assert VLM(loaded, max_tokens=4).run([ask()])[0].tokens == ()


@pytest.mark.parametrize("text", [LETTERS, " begins with a space", "x" * 300, "🦊" * 40, ""])
def test_a_letter_of_several_tokens_is_the_last_ones(loaded: Loaded, text: str) -> None:
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = detokenize(loaded.tokenizer, ids)
    row = Decoded(ids, [-0.5] * len(ids), ended=True, text=whole)
    told = tokens_of(loaded.tokenizer, row)
    assert "".join(token.text for token in told) == whole and [token.id for token in told] == ids
    if "\ufffd" not in whole:
        assert not any("\ufffd" in token.text for token in told)
    for place in range(1, len(ids)):
        start = "".join(token.text for token in told[:place])
        assert detokenize(loaded.tokenizer, ids[:place]).startswith(start)


def test_bytes_of_letters_that_were_cut_make_up_the_answer_too() -> None:
    pieces = ["<unk>", *(f"<0x{n:02X}>" for n in range(256)), *"abc", "\u2581"]
    made = tokenizers.Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, [], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    generator = random.Random(0)
    letters = [[n + 1 for n in letter.encode()] for letter in ("🦊", "é", "\n", "日")] + [[257], [258], [260]]
    for _ in range(300):
        ids = [one for _ in range(5) for one in generator.choice(letters)]
        ids = ids[generator.randrange(2) : len(ids) - generator.randrange(3)]
        whole = detokenize(tokenizer, ids)
        told = tokens_of(tokenizer, Decoded(ids, [-1.0] * len(ids), text=whole))
        assert "".join(token.text for token in told) == whole


def test_a_letter_before_a_stop_string_keeps_all_its_tokens() -> None:
    tokenizer = FAMILIES.get("qwen2_vl")().tiny().tokenizer
    for text in ("🦊", "a", "日本", ""):
        row = Decoded()
        for token in tokenizer(f"{text}STOP b", add_special_tokens=False)["input_ids"]:
            if append(row, token, -1.0, ends=set(), tokenizer=tokenizer, stop=["STOP"]):
                break
        assert row.ended and row.text == text and detokenize(tokenizer, row.ids).startswith(text)
        assert not row.ids or not detokenize(tokenizer, row.ids[:-1]).startswith(text)
        assert joined_of(tokens_of(tokenizer, row)) == text


def test_others_are_what_would_have_been_written(loaded: Loaded) -> None:
    ids = loaded.tokenizer("a red square", add_special_tokens=False)["input_ids"]
    row = Decoded(ids, [-1.0] * len(ids), text=detokenize(loaded.tokenizer, ids), top=[((one, -1.0),) for one in ids])
    for token in tokens_of(loaded.tokenizer, row):
        assert token.top[0].text == token.text


def test_a_stop_string_cuts_their_texts_too(imglish: VLM) -> None:
    vlm = VLM(imglish.loaded, max_tokens=12)
    whole = vlm.run([ask()], logprobs=0)[0]
    for first in range(1, len(whole.raw) - 1):
        (cut,) = vlm.run([ask()], logprobs=0, stop=whole.raw[first : first + 2])
        assert joined(cut) == cut.raw and all(not token.top for token in cut.tokens)


def test_a_form_tells_how_sure_the_model_was_without_it(imglish: VLM) -> None:
    record = imglish.extract(picture(), ["name"], max_tokens=40, logprobs=20)
    assert joined(record) == record.raw and record.parsed and same_after_json(record)
    assert any(token.logprob < -1e-3 for token in record.tokens)  # also of what it had no choice of
    assert all(len({one.id for one in token.top}) == 20 for token in record.tokens)


def test_a_stream_and_a_chat_tell_them_at_the_end(imglish: VLM) -> None:
    stream = imglish.stream([Message("user", (ImagePart(picture()), TextPart("?")))], logprobs=1)
    pieces = "".join(stream)
    assert joined(stream.result) == stream.result.raw and len(stream.result.tokens) > 0 and pieces
    assert imglish.chat(logprobs=0).say("?", image=picture()).tokens


def test_nothing_that_cannot_be_is_told() -> None:
    logits = torch.tensor([-math.inf, 1.0, 0.0, -math.inf])
    assert [token for token, _ in most_probable(logits, 9)] == [1, 2]


@pytest.mark.parametrize("wrong", [-1, 21, True, "3", 1.0])
def test_how_many_are_told_is_bounded(imglish: VLM, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"logprobs is .*from 0 to 20"):
        imglish.run([ask()], logprobs=wrong)


def test_tokens_compare_and_are_read_from_json() -> None:
    token = Token("a", -0.5, 3, (Token("b", -0.25, 4),))
    assert Token.from_json(json.loads(json.dumps({"text": "a", "logprob": -0.5, "id": 3}))) == Token("a", -0.5, 3)
    assert token != Token("a", -0.5, 3)


def test_every_request_may_have_options_of_its_own(imglish: VLM) -> None:
    requests = [ask("?"), ask("How many?"), ask("Which?", 1), ask("What?", 2)]
    own: list[dict[str, Any] | None] = [
        {"temperature": 1.5, "seed": 7}, None, {"max_tokens": 3, "logprobs": 0},
        {"temperature": 0.9, "seed": 1, "n": 2},
    ]  # fmt: skip
    together = imglish.run(requests, each=own, max_tokens=9)
    alone = [
        one for request, its in zip(requests, own, strict=True)
        for one in imglish.run([request], **{"max_tokens": 9, **(its or {})})
    ]  # fmt: skip
    assert [one.raw for one in together] == [one.raw for one in alone] and len(together) == 5
    assert [bool(one.tokens) for one in together] == [False, False, True, False, False]
    assert together[2].receipt is not None and together[2].receipt.truncated
    beamed = imglish.run(requests, each=[{"beams": 3}, None, None, {"beams": 2}], max_tokens=9)
    assert beamed[0] == imglish.run([requests[0]], beams=3, max_tokens=9)[0]
    assert [one.raw for one in beamed[1:3]] == [one.raw for one in imglish.run(requests[1:3], max_tokens=9)]


def test_a_search_does_not_hold_up_pictures_of_others(imglish: VLM) -> None:
    seen: list[Request] = []

    def opening(request: Request) -> Request:
        seen.append(request)
        return open_request(request)

    requests = [ask(f"{n}?", n) for n in range(20)]
    each = [Options(beams=2 if n == 7 else 1, max_tokens=4) for n in range(20)]
    found = imglish._runner.run(imglish.loaded, requests, Options(batch=2), opening=opening, each=each)
    assert next(found)[0] == 7 and len(seen) == 1
    assert sorted([7, *(index for index, _ in found)]) == list(range(20)) and len(seen) == 20


def test_a_deadline_counts_from_the_call_also_behind_a_search(imglish: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def searched(*given: Any) -> Any:
        now[0] += 10
        return beams.search(*given)

    monkeypatch.setattr("imglish.engine.runner.Loop", functools.partial(Loop, clock=lambda: now[0]))
    monkeypatch.setattr("imglish.engine.runner.beams", SimpleNamespace(search=searched, count=beams.count))
    each = [{"beams": 2, "max_tokens": 2}, {"deadline": 5.0}, {"deadline": 15.0}]
    first, second, third = imglish.run([ask("a"), ask("b"), ask("c")], each=each)
    assert [problem.message for problem in second.problems if "deadline" in problem.message]
    assert not [problem for problem in (*first.problems, *third.problems) if "deadline" in problem.message]


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ([{}], "options for 1 requests, and there are 2"),
        ({"seed": 1}, "a list that has a dict of options"),
        ("ab", "a list that has a dict of options"),
        ([1, 2], "a list that has a dict of options"),
        ([{"seeds": 1}, None], "no option 'seeds'"),
        ([{"seed": -1}, None], "seed is -1"),
        ([{"batch": 2}, None], "batch is not an option of one request"),
    ],
)
def test_options_of_requests_that_cannot_be_are_told(imglish: VLM, each: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        imglish.run([ask(), ask()], each=each)
