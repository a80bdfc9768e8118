"""Models on a server: a real HTTP server in a process of its own, which answers, refuses, hangs and breaks off."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydantic
import pytest
from PIL import Image

import imglish
from imglish.core.errors import ImageError, InputError, RemoteError, SkillError, UnknownName
from imglish.core.results import PARSE, Token, result_from_json
from imglish.core.types import ImagePart, Message, Request, TextPart
from imglish.engine._remote_answer import Said
from imglish.engine.folder import map_folder
from imglish.engine.remote import RemoteVLM
from model_server import SECRET, Server, serve

PICTURE = Image.new("RGB", (120, 80), (200, 30, 30))


@pytest.fixture(scope="module")
def process() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("IMGLISH_API_KEY", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    process._control("reset", None)
    return process


@pytest.fixture
def vlm(server: Server) -> Iterator[RemoteVLM]:
    with opened(server) as model:
        yield model


def opened(server: Server, name: str | None = None, **options: Any) -> RemoteVLM:
    """A model of the server; between two tries nothing is waited for, and it is written down how long it would be."""
    model = imglish.load(server.url, model=name, **{"timeout": 60, **options})
    assert isinstance(model, RemoteVLM)
    model.waits = []  # type: ignore[attr-defined]
    model.server.pause = lambda seconds, _: model.waits.append(seconds)  # type: ignore[attr-defined]
    return model


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    """The pictures of a request, as the server got them."""
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def words(body: dict[str, Any]) -> str:
    """The text of the last message."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def test_a_question_goes_out_with_its_picture_and_the_answer_comes_back(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "red"})
    result = vlm.ask(PICTURE, "Which colour?")
    (body,) = server.bodies()
    assert (result.text, words(body), body["model"]) == ("red", "Which colour?", "only")
    assert np.array_equal(np.asarray(pictures(body)[0]), np.asarray(PICTURE))
    assert (body["temperature"], body["max_tokens"], "stream" in body) == (0.0, 512, False)


def test_the_receipt_says_what_is_known_and_what_is_not(server: Server, vlm: RemoteVLM) -> None:
    receipt = vlm.ask(PICTURE, "Which colour?").receipt
    assert (receipt.remote, receipt.checkpoint, receipt.family) == (server.url, "only", "remote")
    assert (receipt.prompt_tokens, receipt.generated_tokens, receipt.prompted) == (21, 2, False)
    assert receipt.images[0].original_size == receipt.images[0].model_size == (120, 80)
    assert "image_tokens" in receipt.unknown and "prompt_tokens" not in receipt.unknown
    server.will({"text": "[]", "usage": None})
    result = vlm.detect(PICTURE, "cat")
    assert result.receipt.prompted and {"prompt_tokens", "generated_tokens"} <= set(result.receipt.unknown)
    assert result_from_json(json.loads(json.dumps(result.to_json()))) == result


def test_the_confidence_is_the_models_own_where_the_server_tells_it(server: Server, vlm: RemoteVLM) -> None:
    rows = [{"token": "re", "logprob": -0.5, "bytes": None}, {"token": "d", "logprob": -0.1, "bytes": None}]
    server.will({"text": "red", "logprobs": {"content": rows}}, {"text": "red"})
    assert vlm.ask(PICTURE, "?").confidence == pytest.approx(np.exp(-0.3))
    assert vlm.ask(PICTURE, "?").confidence is None


def test_log_probabilities_come_as_the_server_tells_them(server: Server, vlm: RemoteVLM) -> None:
    top = [{"token": "re", "logprob": -0.5}, {"token": "gr", "logprob": -math.inf}, {"token": 3}]
    rows = [{"token": "re", "logprob": -0.5, "top_logprobs": top}, {"token": "d", "logprob": -0.1}]
    server.will({"text": "red", "logprobs": {"content": rows}}, {"text": "red"}, {"text": "red"})
    first, second, third = (vlm.ask(PICTURE, "?", logprobs=count) for count in (2, 0, None))
    assert first.tokens == (Token("re", -0.5, None, (Token("re", -0.5), Token("gr", -9999.0))), Token("d", -0.1))
    assert [body.get("top_logprobs") for body in server.bodies()] == [2, None, None]
    assert not second.tokens and [problem.kind for problem in second.problems] == ["server"]
    assert not third.problems


def test_a_stop_string_that_a_server_let_pass_cuts_tokens_too() -> None:
    rows = [{"token": text, "logprob": -1.0} for text in ("a", " ", "ST", "OP", " b")]
    for text, kept in (("STOP", ["a", " "]), ("TOP", ["a", " ", "S"]), ("a", [])):
        said = Said()
        said.take({"choices": [{"message": {"content": "a STOP b"}, "logprobs": {"content": rows}}]}, [text])
        assert said.cut and [one.text for one in said.tokens] == kept and "".join(kept) == said.text


def test_a_server_gets_the_options_of_each_request(server: Server, vlm: RemoteVLM) -> None:
    request = Request("ask", (Message("user", (ImagePart(PICTURE), TextPart("?"))),), "?")
    found = vlm.run([request, request], each=[{"seed": 3, "n": 2}, {"max_tokens": 5}], batch=1, temperature=0.5)
    told = [(body.get("seed"), body["max_tokens"], body["temperature"]) for body in server.bodies()]
    assert len(found) == 3 and told == [(3, 512, 0.5), (4, 512, 0.5), (None, 5, 0.5)]


def test_regions_come_back_in_pixels_of_the_picture(server: Server, vlm: RemoteVLM) -> None:
    answer = {"items": [{"bbox_2d": [0, 250, 500, 1000], "label": "cat"}]}
    server.will({"text": json.dumps(answer)})
    boxes = vlm.detect(PICTURE, ["cat", "dog"])
    assert boxes.xyxy.tolist() == [[0, 20, 60, 80]] and boxes.labels == ("cat",) and not boxes.problems
    schema = server.bodies()[0]["response_format"]["json_schema"]["schema"]
    label = schema["properties"]["items"]["items"]["properties"]["label"]
    assert label["enum"] == ["cat", "dog"] and server.bodies()[0]["response_format"]["json_schema"]["strict"]
    server.will(
        {"text": '{"items": [{"polygon": [[0, 0], [1000, 0], [0, 1000]], "label": "cat"}]}'},
        {"text": '{"items": [{"bbox_2d": [0, 0, 1000, 500], "text": "OPEN"}]}'},
        {"text": '{"items": [{"bbox_2d": [0, 0, 100, 100], "label": "cup"}]}'},
    )
    assert vlm.segment(PICTURE, "cat").polygons == ((((0, 0), (120, 0), (0, 80)),),)
    assert vlm.read(PICTURE).text == "OPEN"
    assert vlm.ground(PICTURE, "the cup").xyxy.tolist() == [[0, 0, 12, 8]]


@pytest.mark.parametrize(
    ("text", "count", "parsed"),
    [
        ('{"items": []}', 0, True),
        ("[]", 0, True),
        ('```json\n{"items": [{"bbox_2d": [1, 2, 3, 4], "label": "a"}]}\n```', 1, True),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "a"}]', 1, True),
        ('<think>Where?</think>{"items": [{"bbox_2d": [1, 2, 3, 4], "label": "a"}]}', 1, True),
        ('{"items": [{"bbox_2d": [1, 2, 3, 4], "label": "a"}, {"bbox_2d": [5,', 1, False),
        ("I see a cat.", 0, False),
        ('{"items": [{"bbox_2d": [1, 2, 3], "label": "a"}]}', 0, False),
        ("", 0, False),
    ],
)
def test_what_cannot_be_read_is_a_problem_and_never_nothing_found(
    server: Server, vlm: RemoteVLM, text: str, count: int, parsed: bool
) -> None:
    server.will({"text": text})
    boxes = vlm.detect(PICTURE, "a")
    assert (len(boxes), boxes.parsed, boxes.raw) == (count, parsed, text)


def test_every_skill_has_an_answer(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "a cat"}, {"text": "cup"}, {"text": "3"}, {"text": '{"shop": "Kiosk"}'}, {"text": "left"})
    assert vlm.caption(PICTURE).text == "a cat"
    assert vlm.identify(PICTURE, (12, 8, 60, 40)).text == "cup"
    assert vlm.count(PICTURE, "cups").text == "3"
    assert vlm.extract(PICTURE, ["shop"])["shop"] == "Kiosk"
    assert vlm.watch([PICTURE, PICTURE.rotate(180)], "Which way?").text == "left"
    said = server.bodies()
    assert "[100, 100, 500, 500]" in words(said[1]) and "cups" in words(said[2])
    assert said[3]["response_format"]["json_schema"]["schema"]["required"] == ["shop"]
    assert len(pictures(said[4])) == 2 and vlm.skills == imglish.SKILLS


def test_the_parts_of_a_message_keep_their_order(server: Server, vlm: RemoteVLM) -> None:
    content = [{"type": "text", "text": "first"}, {"type": "image", "image": PICTURE}, {"type": "text", "text": "last"}]
    assert (
        vlm.stream([{"role": "system", "content": "Short."}, {"role": "user", "content": content}]).result.text == "yes"
    )
    system, user = server.bodies()[0]["messages"]
    assert system == {"role": "system", "content": "Short."}
    assert [part.get("text", part["type"]) for part in user["content"]] == ["first", "image_url", "last"]


def test_a_chat_remembers_its_turns(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "A cat."}, {"text": "Black."})
    chat = vlm.chat(system="Be short.")
    assert chat.say("What is this?", image=PICTURE).text == "A cat."
    assert "".join(chat.stream("Which colour?")) == "Black."
    turns = server.bodies()[1]["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == "A cat." and len(pictures(server.bodies()[1])) == 1


@pytest.mark.parametrize(
    "act", [{}, {"chunk": 1}, {"chunk": 1, "newline": "\r\n"}, {"newline": "\r"}, {"endless": True, "parts": None}]
)
def test_a_stream_is_the_whole_answer_in_pieces(server: Server, vlm: RemoteVLM, act: dict[str, Any]) -> None:
    text = "Zażółć\u2028gęślą \x85 jaźń 🐈"
    if "endless" in act:  # no reason for the end and no [DONE], but the count of tokens: this answer broke off
        server.will(*[{**act, "text": text}] * 9)
        with pytest.raises(RemoteError, match="broke off"):
            _ = vlm.stream("Hello").result
        return
    server.will({**act, "text": text})
    stream = vlm.stream("Hello")
    pieces = list(stream)
    assert "".join(pieces) == text == stream.result.raw and len(pieces) > 3
    assert stream.result.receipt.generated_tokens == 2 and server.bodies()[0]["stream"]


def test_a_server_that_does_not_stream_gives_the_whole_at_once(server: Server, vlm: RemoteVLM) -> None:
    whole = {"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}], "usage": None}
    server.will({"raw": json.dumps(whole)})
    assert list(vlm.stream("Which colour?")) == ["red"]


def test_a_stream_that_breaks_off_goes_on_where_it_was(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "abcdefghi", "break": 2}, {"text": "abcdefghi"})
    stream = vlm.stream("Hello")
    assert list(stream) == ["abc", "def", "ghi"] and stream.result.text == "abcdefghi"
    assert len(server.seen()) == 2


def test_a_stream_that_begins_otherwise_the_second_time_is_an_error(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "abcdefghi", "break": 2}, {"text": "xyz"})
    stream = vlm.stream("Hello")
    with pytest.raises(RemoteError, match="begins otherwise"):
        list(stream)


def test_an_error_in_the_midst_of_a_stream_is_told(server: Server, vlm: RemoteVLM) -> None:
    server.will({"endless": True, "text": "ab", "error": {"message": "out of pages", "code": 400}})
    with pytest.raises(RemoteError, match="out of pages"):
        list(vlm.stream("Hello"))


@pytest.mark.parametrize("refused", [False, True])
def test_an_answer_ends_before_a_stop_string(server: Server, vlm: RemoteVLM, refused: bool) -> None:
    server.set(text="one. two. three", refuses=["stop"] if refused else [])
    result = vlm.ask(PICTURE, "?", stop=[" two"])
    stream = vlm.stream("?", stop=[" two"])
    assert result.text == "".join(stream) == "one."
    assert any("stop" in problem.message for problem in result.problems) is refused
    assert all("stop" not in body for body in server.bodies()[1:]) is refused


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_each_time_later(server: Server, vlm: RemoteVLM, status: int) -> None:
    server.will(*[{"status": status}] * 3, {"text": "red"})
    assert vlm.ask(PICTURE, "?").text == "red"
    first, second, third = vlm.waits  # type: ignore[attr-defined]
    assert 0.375 <= first <= 0.5 and 0.75 <= second <= 1.0 and 1.5 <= third <= 2.0


def test_the_server_is_given_the_time_that_it_asks_for(server: Server, vlm: RemoteVLM) -> None:
    server.will(
        {"status": 429, "headers": {"Retry-After": "7"}},
        {"status": 503, "headers": {"Retry-After-Ms": "9000"}},
        {"status": 503, "headers": {"Retry-After": "Fri, 01 Jan 2021 00:00:00 GMT"}},
        {"status": 503, "headers": {"Retry-After": "soon"}},
        {"text": "red"},
    )
    assert vlm.ask(PICTURE, "?").text == "red"
    assert vlm.waits[:2] == [7, 9] and 1.5 <= vlm.waits[2] <= 2 and 3 <= vlm.waits[3] <= 4  # type: ignore[attr-defined]


def test_nobody_waits_an_hour_for_a_server(server: Server, vlm: RemoteVLM) -> None:
    server.will({"status": 429, "headers": {"Retry-After": "3600"}})
    with pytest.raises(RemoteError, match="429") as caught:
        vlm.ask(PICTURE, "?")
    assert "3600 seconds" in str(caught.value) and vlm.waits == []  # type: ignore[attr-defined]


def test_the_tries_come_to_an_end(server: Server) -> None:
    server.set(models=["only"])
    with opened(server, retries=2) as vlm:
        server.will(*[{"status": 503}] * 9)
        with pytest.raises(RemoteError, match=r"503.*busy.*tried 3 times") as caught:
            vlm.ask(PICTURE, "?")
    assert len(server.seen()) == 3 and caught.value.status == 503


@pytest.mark.parametrize(
    "act",
    [
        {"drop": True},
        {"raw": '{"choices": [', "headers": {"Content-Length": "900"}},
        {"raw": '{"choices": ['},
        {"raw": "[1, 2]"},
        {"raw": "<html>gateway</html>", "type": "text/html"},
        {"raw": '{"choices": []}'},
    ],
)
def test_a_broken_answer_is_tried_again(server: Server, vlm: RemoteVLM, act: dict[str, Any]) -> None:
    server.will(act, act, {"text": "red"})
    assert vlm.ask(PICTURE, "?").text == "red"
    assert len(vlm.waits) == 2  # type: ignore[attr-defined]
    server.will(*[act] * 9)
    with pytest.raises(RemoteError) as caught:
        vlm.ask(PICTURE, "?")
    assert server.url in caught.value.message and "tried 5 times" in caught.value.message


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_what_will_not_pass_is_not_tried_again(server: Server, vlm: RemoteVLM, status: int) -> None:
    server.will(*[{"status": status, "body": '{"error": {"message": "the picture is odd"}}'}] * 3)
    with pytest.raises(RemoteError, match="the picture is odd") as caught:
        vlm.ask(PICTURE, "?")
    assert caught.value.status == status and vlm.waits == []  # type: ignore[attr-defined]


def test_a_quota_that_is_used_up_is_not_waited_for(server: Server, vlm: RemoteVLM) -> None:
    server.will({"status": 429, "body": '{"error": {"message": "no credit", "code": "insufficient_quota"}}'})
    with pytest.raises(RemoteError, match="no credit"):
        vlm.ask(PICTURE, "?")
    assert len(server.seen()) == 1


def test_a_server_that_is_silent_is_left_and_not_asked_again(server: Server) -> None:
    with opened(server, timeout=0.3) as vlm:
        server.will({"hang": 5})
        with pytest.raises(RemoteError, match=r"did not answer within 0\.3 seconds") as caught:
            vlm.ask(PICTURE, "?")
    assert "--timeout" in str(caught.value) and len(server.seen()) == 1


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    with pytest.raises(RemoteError, match=r"cannot reach http://127\.0\.0\.1:9/v1"):
        imglish.load("http://127.0.0.1:9", model="x", retries=0)


def test_a_redirect_is_not_followed(server: Server, vlm: RemoteVLM) -> None:
    server.will({"status": 307, "headers": {"Location": "/v1/elsewhere"}, "body": ""})
    with pytest.raises(RemoteError, match="307"):
        vlm.ask(PICTURE, "?")
    assert server.seen("/v1/elsewhere") == []


def test_without_a_name_the_only_model_is_taken(server: Server) -> None:
    with opened(server) as vlm:
        assert vlm.model == "only" and repr(vlm) == f"RemoteVLM('{server.url}', model='only', family=None)"
    server.set(models=["a", "b"])
    with pytest.raises(InputError, match="has 2 models") as caught:
        imglish.load(server.url)
    assert "a, b" in str(caught.value)
    server.set(models=[])
    with pytest.raises(InputError, match="lists no models"):
        imglish.load(server.url)


def test_a_name_that_the_server_lacks_is_an_error_that_lists_its_models(server: Server) -> None:
    server.set(models=["qwen3-vl:8b", "llava:latest"])
    with pytest.raises(UnknownName, match=r"Did you mean 'qwen3-vl:8b'") as caught:
        imglish.load(server.url, model="qwen3-vl:4b")
    assert "llava:latest" in str(caught.value)
    with opened(server, "llava") as vlm:
        assert vlm.model == "llava:latest"


def test_a_server_without_a_list_takes_any_name(server: Server) -> None:
    server.set(list_status=404)
    with opened(server, "mine") as vlm:
        vlm.ask(PICTURE, "?")
    assert server.bodies()[0]["model"] == "mine"
    with pytest.raises(RemoteError, match="404"):
        imglish.load(server.url)


def test_the_family_is_told_by_the_name_or_by_what_is_behind_it(server: Server) -> None:
    server.set(models=["Qwen/Qwen3-VL-4B-Instruct", "mine", "other"], roots={"mine": "/models/Qwen2.5-VL-7B-Instruct"})
    for name, family in (("Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl"), ("mine", "qwen2_5_vl"), ("other", None)):
        with opened(server, name) as vlm:
            assert (vlm.family.known.name if vlm.family.known else None) == family
    with opened(server, "other", family="qwen2_vl") as vlm:
        assert vlm.family.known is not None and vlm.loaded.family.name == "qwen2_vl"


def test_a_known_model_is_asked_and_read_in_its_own_way(server: Server) -> None:
    server.set(models=["Qwen/Qwen2-VL-2B-Instruct"])
    said = "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(0,0),(500,500)<|box_end|><|im_end|>"
    with opened(server) as vlm:
        server.will({"text": said})
        boxes = vlm.detect(PICTURE, "cat")
    (body,) = server.bodies()
    assert boxes.xyxy.tolist() == [[0, 0, 60, 40]] and boxes.labels == ("cat",) and not boxes.problems
    assert words(body) == "Find <|object_ref_start|>cat<|object_ref_end|>"
    assert body["skip_special_tokens"] is False and "response_format" not in body
    assert not boxes.receipt.prompted and boxes.receipt.family == "qwen2_vl"


def test_pixels_of_the_resized_picture_are_those_of_what_was_sent(server: Server) -> None:
    server.set(models=["Qwen/Qwen2.5-VL-3B-Instruct"])
    with opened(server) as vlm:
        server.will({"text": '```json\n[{"bbox_2d": [56, 28, 112, 84], "label": "cat"}]\n```'})
        boxes = vlm.detect(PICTURE.resize((240, 150)), "cat")
    (sent,) = pictures(server.bodies()[0])
    assert sent.size == boxes.receipt.images[0].model_size == (252, 140)
    scale = np.array([240 / 252, 150 / 140] * 2)
    np.testing.assert_allclose(boxes.xyxy, [np.array([56, 28, 112, 84]) * scale])


def test_a_model_that_looks_at_squares_is_sent_a_square(server: Server) -> None:
    server.set(models=["llava-hf/llava-1.5-7b-hf"])
    with opened(server) as vlm:
        server.will({"text": '[{"bbox_2d": [0.0, 0.25, 0.5, 0.75], "label": "cat"}]'})
        boxes = vlm.detect(PICTURE, "cat")
    (sent,) = pictures(server.bodies()[0])
    assert sent.size == (120, 120) and boxes.receipt.images[0].pad == (0, 20)
    np.testing.assert_allclose(boxes.xyxy, [[0, 10, 60, 70]])


def test_large_pictures_are_made_smaller_and_the_receipt_says_so(server: Server, vlm: RemoteVLM) -> None:
    large = Image.effect_noise((4000, 3000), 60).convert("RGB")
    server.will({"text": '{"items": [{"bbox_2d": [0, 0, 500, 1000], "label": "cat"}]}'})
    boxes = vlm.detect(large, "cat")
    (sent,) = pictures(server.bodies()[0])
    assert sent.size == boxes.receipt.images[0].model_size and sent.width * sent.height <= 2048 * 2048
    assert boxes.receipt.images[0].original_size == (4000, 3000) and boxes.xyxy.tolist() == [[0, 0, 2000, 3000]]
    assert len(json.dumps(server.bodies()[0])) < 18 * 2**20
    with opened(server, max_pixels=10_000) as small:
        small.ask(large, "?")
    assert pictures(server.bodies()[-1])[0].size == (115, 86)


def test_a_request_that_no_server_would_take_is_not_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imglish.engine._remote_http.MOST_SENT", 20_000)
    noise = Image.effect_noise((200, 200), 60)
    with opened(server) as vlm, pytest.raises(InputError, match="max_pixels"):
        vlm.ask([noise, noise], "?")
    assert server.seen() == []
    monkeypatch.setattr("imglish.engine._remote_images.MOST_BYTES", 500)
    with opened(server) as vlm, pytest.raises(ImageError, match="max_pixels"):
        vlm.ask(noise, "?")


def test_nothing_but_pixels_is_sent_of_a_picture(server: Server, vlm: RemoteVLM, tmp_path: Any) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    PICTURE.save(tmp_path / "secret.jpg", exif=exif)
    vlm.ask(tmp_path / "secret.jpg", "?")
    (sent,) = pictures(server.bodies()[0])
    assert not sent.getexif() and "secret" not in json.dumps(server.bodies()) and not sent.info.get("exif")


@pytest.mark.parametrize(
    ("forms", "used"), [(["json_schema", "json_object"], "json_schema"), (["json_object"], "json_object"), ([], "")]
)
def test_without_structured_output_the_answer_is_asked_for_in_words_and_says_so(
    server: Server, vlm: RemoteVLM, forms: list[str], used: str
) -> None:
    server.set(forms=forms, text='{"shop": "Kiosk"}')
    record = vlm.extract(PICTURE, ["shop"])
    assert record["shop"] == "Kiosk" and record.parsed
    assert server.bodies()[-1].get("response_format", {}).get("type", "") == used
    assert any("no structured output" in problem.message for problem in record.problems) is (used != "json_schema")
    before = len(server.seen())
    assert vlm.extract(PICTURE, ["shop"])["shop"] == "Kiosk"
    assert len(server.seen()) == before + 1  # what was refused once is not tried again


def test_an_answer_that_does_not_satisfy_the_schema_says_so(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "The shop is Kiosk."}, {"text": '{"name": "Kiosk"}'})
    record = vlm.extract(PICTURE, ["shop"])
    assert not record.parsed and record["shop"] == "N/A"
    assert any(problem.kind != PARSE for problem in vlm.extract(PICTURE, ["shop"]).problems)


def test_a_schema_of_pydantic_is_strict_only_where_it_can_be(server: Server, vlm: RemoteVLM) -> None:
    from pydantic import BaseModel

    class Whole(BaseModel):
        shop: str
        total: float

    class Loose(BaseModel):
        shop: str
        total: float | None = None

    server.set(text='{"shop": "Kiosk", "total": 3.5}')
    assert vlm.extract(PICTURE, Whole).to_model(Whole) == Whole(shop="Kiosk", total=3.5)
    vlm.extract(PICTURE, Loose)
    first, second = (body["response_format"]["json_schema"] for body in server.bodies())
    assert (first["strict"], second["strict"]) == (True, False)
    assert first["schema"]["additionalProperties"] is second["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("name", ["logprobs", "temperature", "seed", "top_p"])
def test_a_parameter_that_a_server_refuses_is_left_out_from_then_on(server: Server, vlm: RemoteVLM, name: str) -> None:
    server.set(refuses=[name])
    options = {"seed": 7, "top_p": 0.5, "temperature": 0.5}
    result = vlm.ask(PICTURE, "?", **options)
    assert result.text == "yes" and name in server.bodies()[0] and name not in server.bodies()[1]
    assert any(name in problem.message for problem in result.problems) is (name != "logprobs")
    vlm.ask(PICTURE, "?", **options)
    assert len(server.seen()) == 3


def test_the_newer_name_of_the_length_is_learnt(server: Server, vlm: RemoteVLM) -> None:
    server.set(refuses=["max_tokens"])
    assert vlm.ask(PICTURE, "?", max_tokens=9).text == "yes"
    assert server.bodies()[1]["max_completion_tokens"] == 9 and "max_tokens" not in server.bodies()[1]


def test_a_bare_refusal_is_tried_once_without_what_we_added(server: Server, vlm: RemoteVLM) -> None:
    server.set(unnamed=["logprobs", "stream_options"])
    assert vlm.ask(PICTURE, "?").text == "yes" and "".join(vlm.stream("?")) == "yes"
    server.set(unnamed=["messages"])
    with pytest.raises(RemoteError, match="Bad request"):
        vlm.ask(PICTURE, "?")


def test_a_refusal_of_something_else_teaches_nothing(server: Server, vlm: RemoteVLM) -> None:
    server.set(unnamed=["messages"], forms=[])
    with pytest.raises(RemoteError, match="Bad request"):
        vlm.extract(PICTURE, ["shop"])
    server.set(unnamed=[], forms=["json_schema"], text='{"shop": "Kiosk"}')
    assert not vlm.extract(PICTURE, ["shop"]).problems
    assert {"logprobs", "response_format"} <= set(server.bodies()[-1])


def test_a_cut_answer_and_a_withheld_one_say_so(server: Server, vlm: RemoteVLM) -> None:
    server.will({"text": "a long", "finish": "length"}, {"text": None, "message": {"refusal": "I cannot."}})
    cut, withheld = vlm.ask(PICTURE, "?"), vlm.ask(PICTURE, "?")
    assert cut.receipt.truncated and [problem.kind for problem in cut.problems] == ["truncated"]
    assert not withheld.parsed and any(problem.message == "I cannot." for problem in withheld.problems)


def test_many_requests_are_on_their_way_at_once_and_come_back_in_order(server: Server, vlm: RemoteVLM) -> None:
    from imglish.core.types import Message, Request, TextPart

    asked = [Request("chat", (Message("user", (TextPart(f"number {n}"),)),), f"number {n}") for n in range(12)]
    server.will(*[{"text": "x", "wait": 0.05}] * 12)
    results = vlm.run(asked, batch=4)
    assert len(results) == 12 and server._control("together", None) in (2, 3, 4)
    server.will(*[{"status": 403}] * 12)
    with pytest.raises(RemoteError, match="403"):
        vlm.run(asked, batch=4)
    assert len(server.seen()) < 24  # the others were not sent any more


def test_a_key_reaches_the_server_and_nobody_else(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.set(key=SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with opened(server) as vlm:
        assert vlm.ask(PICTURE, "?").text == "yes"
        server.set(key="another")
        with pytest.raises(RemoteError, match="401") as caught:
            vlm.ask(PICTURE, "?")
        told = [str(caught.value), repr(caught.value), repr(vlm), repr(vars(vlm)), repr(vars(vlm.server)), caplog.text]
    assert "IMGLISH_API_KEY" in str(caught.value) and "***" in str(caught.value)
    assert [text for text in told if SECRET in text or SECRET[-8:] in text] == []
    assert server.seen()[0]["headers"]["authorization"] == f"Bearer {SECRET}"


def test_a_key_in_the_query_reaches_the_server_and_no_log(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with imglish.load(f"{server.url}?api-key={SECRET}&api-version=2024-06-01", retries=0) as vlm:
        vlm.ask(PICTURE, "?")
        list(vlm.stream("Hello"))
        server.will({"status": 403, "body": json.dumps({"error": {"message": f"no key {SECRET}"}})})
        with pytest.raises(RemoteError, match=r"no key \*\*\*") as caught:
            vlm.ask(PICTURE, "?")
    assert all(SECRET in one["path"] for one in server._control("seen", None))
    assert SECRET not in str(caught.value) + caplog.text + repr(vlm) + repr(vlm.server)
    assert "/v1/chat/completions" in caplog.text  # the rest of what is logged stays


def test_our_own_key_goes_first_and_openais_never_in_the_clear_to_another_machine() -> None:
    from imglish.engine._remote_address import Address, find_key

    both = {"IMGLISH_API_KEY": "ours", "OPENAI_API_KEY": "theirs"}
    near, far, safe = (
        Address.of(f"{url}") for url in ("http://[::1]:8000", "http://10.0.0.7:8000", "https://api.x.com")
    )
    assert [find_key(where, both).secret for where in (near, far, safe)] == ["ours"] * 3
    one = {"OPENAI_API_KEY": "theirs"}
    assert [find_key(where, one).secret for where in (near, far, safe)] == ["theirs", "", "theirs"]
    with pytest.raises(InputError, match="OPENAI_API_KEY") as caught:
        find_key(safe, {"OPENAI_API_KEY": "sk- broken\nin two"})
    assert "broken" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:1", "http://h:1/v1"),
        ("HTTP://h:1/", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("https://h/api/v1/chat/completions", "https://h/api/v1"),
        ("https://h/openai/models?api-version=3&k=secret", "https://h/openai"),
        ("http://[::1]:1/v1", "http://[::1]:1/v1"),
    ],
)
def test_an_address_may_be_written_in_several_ways(given: str, base: str) -> None:
    from imglish.engine._remote_address import Address

    found = Address.of(given)
    assert found.base == base and "secret" not in repr(found)
    assert dict(found.query).get("k") == ("secret" if "secret" in given else None)


@pytest.mark.parametrize("given", ["http://", "http://me:secret@h/v1", "http://h:port/v1", "http://a b/v1"])
def test_what_is_no_address_is_refused_without_being_told_on(given: str) -> None:
    with pytest.raises(InputError) as caught:
        imglish.load(given)
    assert "secret" not in str(caught.value)


def test_what_only_a_local_model_has_is_refused(server: Server, vlm: RemoteVLM) -> None:
    for wrong in ({"device": "cpu"}, {"dtype": "float32"}, {"revision": "main"}, {"min_pixels": 9}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            imglish.load(server.url, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="two models"):
        imglish.load("owner/name", model="x")
    with pytest.raises(InputError, match="timeout"):
        imglish.load("owner/name", timeout=3)
    with pytest.raises(InputError, match="no features"):
        vlm.keep_in("folder")
    vlm.forget()
    with pytest.raises(SkillError, match="no image"):
        vlm.run([imglish.Request("detect", ())])


def test_options_are_not_scored_on_a_server_and_the_refusal_says_why(server: Server, vlm: RemoteVLM) -> None:
    messages = imglish_messages("Is there a cat?")
    for refused in (lambda: vlm.score(messages, ["yes", "no"]), lambda: vlm.score_all([(messages, ["yes", "no"])])):
        with pytest.raises(SkillError) as caught:
            refused()
        for told in ("'yes', 'no'", repr(vlm.model), vlm.server.address.base, "not how probable a given one is"):
            assert told in caught.value.message
        assert "imglish.load(" in (caught.value.hint or "")
    assert server.bodies() == []  # nothing was sent that could not be answered


LIGHT = """
import json, sys
from PIL import Image
import imglish
picture = Image.new("RGB", (120, 80), (200, 30, 30))
told = []
for model in sys.argv[2:]:
    with imglish.load(sys.argv[1], model=model) as vlm:
        told += [vlm.family.name, vlm.ask(picture, "?", max_tokens=9).text, len(vlm.detect(picture, ["cat"])),
                 vlm.extract(picture, ["name"]).data, "".join(vlm.chat().stream("?", image=picture))]
heavy = ("torch", "transformers", "tokenizers", "llguidance", "safetensors")
print(json.dumps([told, [name for name in heavy if name in sys.modules]]))
"""


def test_a_model_on_a_server_needs_no_torch(server: Server) -> None:
    names = ["only", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen3-VL-2B-Instruct", "llava-hf/llava-1.5-7b-hf"]
    server.set(models=names, text='[{"bbox_2d": [100, 100, 500, 500], "label": "cat"}]')
    done = subprocess.run([sys.executable, "-c", LIGHT, server.url, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told, heavy = json.loads(done.stdout)
    assert told[::5] == ["remote", "qwen2_5_vl", "qwen3_vl", "llava"]
    assert heavy == []


def test_several_samples_have_seeds_of_their_own(server: Server, vlm: RemoteVLM) -> None:
    request = imglish.Request("ask", imglish_messages("?"), "?")
    results = vlm.run([request, request], n=3, seed=5, temperature=1.0, batch=1)
    assert len(results) == 6 and [body["seed"] for body in server.bodies()] == [5, 6, 7] * 2


def imglish_messages(text: str) -> tuple[imglish.Message, ...]:
    from imglish.core.types import to_messages

    return to_messages({"role": "user", "content": [{"type": "image", "image": PICTURE}, text]})


def test_an_answer_that_is_cancelled_or_late_is_what_has_come_of_it(server: Server, vlm: RemoteVLM) -> None:
    stop = threading.Event()
    server.set(text="abcdefghi")
    stream = vlm.stream("Hello", cancel=stop)
    pieces = [next(iter(stream))]
    stop.set()
    assert (pieces, stream.result.text, stream.result.receipt.truncated) == (["abc"], "abc", True)
    assert [problem.message for problem in stream.result.problems if "cancelled" in problem.message]
    server.will({"hang": 5})
    late = vlm.ask(PICTURE, "?", deadline=0.2)
    assert late.text == "" and any("deadline" in problem.message for problem in late.problems)
    with pytest.raises(InputError, match="beams"):
        vlm.ask(PICTURE, "?", beams=3)


def test_a_cancellation_ends_the_wait_that_a_server_asks_for(server: Server, vlm: RemoteVLM) -> None:
    stop, slept = threading.Event(), list[float]()
    vlm.server.pause = vlm.server.__class__.pause.__get__(vlm.server)  # type: ignore[method-assign]
    vlm.server.sleep = lambda seconds: (slept.append(seconds), len(slept) == 3 and stop.set())  # type: ignore[assignment,return-value]
    server.will({"status": 429, "headers": {"Retry-After": "8"}})
    result = vlm.ask(PICTURE, "?", cancel=stop)
    assert any("cancelled" in problem.message for problem in result.problems)
    assert len(slept) == 3 and sum(slept) < 1 and len(server.bodies()) == 1


class Silence:
    """What stands instead of a server's answer: nothing, until the test is over."""

    def __init__(self, then: Any) -> None:
        self.asked, self.over, self.then = threading.Event(), threading.Event(), then
        self.ended: list[bool] = []

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.asked.set()
        self.then()
        self.ended.append(self.over.wait(30))
        raise RemoteError("the silence is over")


def test_a_silent_server_is_left_as_soon_as_it_is_cancelled(vlm: RemoteVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence(lambda: None)
    monkeypatch.setattr(vlm.server, "_opened", silence)
    requests = [imglish.Request("ask", imglish_messages("?"), "?")] * 3
    results = vlm.run(requests, cancel=silence.asked)
    assert silence.ended == []
    silence.over.set()
    assert all("cancelled" in result.problems[-1].message for result in results)


@pytest.mark.parametrize("how", ["run", "map"])
def test_an_interrupt_of_the_keyboard_waits_for_no_silent_server(
    how: str, vlm: RemoteVLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    main, sent = threading.main_thread().ident, threading.Lock()
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    silence = Silence(lambda: sent.acquire(blocking=False) and signal.pthread_kill(main, signal.SIGINT))
    monkeypatch.setattr(vlm.server, "_opened", silence)
    for name in "abc":
        PICTURE.save(tmp_path / f"{name}.png")
    requests = [imglish.Request("ask", imglish_messages("?"), "?")] * 3
    ways = {
        "run": lambda: vlm.run(requests),
        "map": lambda: map_folder(vlm, tmp_path, skill="caption", out=tmp_path / "out.jsonl"),
    }
    with pytest.raises(KeyboardInterrupt):
        ways[how]()
    assert silence.ended == []
    silence.over.set()
    monkeypatch.undo()
    assert vlm.ask(PICTURE, "?").text == "yes"


class Card(pydantic.BaseModel):
    name: str
    paid: bool


@pytest.mark.parametrize(
    ("form", "said", "text"),
    [
        (["red", "green"], '{"answer": "red"}', "red"),
        (["red", "green"], '```json\n{"answer": "green"}\n```', "green"),
        ("yes or no", '<think>Well.</think>{"answer": "no"}', "no"),
        ("integer", '{"answer": -12}', "-12"),
        ("number", '{"answer": 3.5}', "3.5"),
        ("date", '{"answer": "2024-02-29"}', "2024-02-29"),
        (range(10), '{"answer": 9}', "9"),
        (range(10), "7", "7"),  # a server that does not know the parameter
        (["red", "green"], "red", "red"),
        (Card, '{"name": "Ann", "paid": true}', '{"name": "Ann", "paid": true}'),
    ],
)
def test_a_server_is_held_to_a_form_by_a_schema(
    server: Server, vlm: RemoteVLM, form: Any, said: str, text: str
) -> None:
    server.will({"text": said})
    result = vlm.ask(PICTURE, "Which?", form=form)
    assert (result.text, result.raw, result.problems) == (text, said, ())
    (body,) = server.bodies()
    sent = body["response_format"]["json_schema"]
    assert sent["strict"] and sent["schema"]["type"] == "object" and words(body).startswith("Which?")
    if form is not Card:
        assert sent["schema"]["required"] == ["answer"]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (["red", "green"], '{"answer": "blue"}'),
        ("integer", '{"answer": 1.5}'),
        ("integer", '{"answer": true}'),
        ("number", '{"answer": "many"}'),
        ("date", '{"answer": "2023-02-29"}'),
        ("date", '{"answer": "20230228"}'),
        (range(10), '{"answer": 10}'),
        (range(10), "I see seven."),
        (range(10), '{"answer": 1'),
        (range(10), '{"count": 1}'),
        (Card, '{"name": "Ann"}'),
        (Card, "[1]"),
    ],
)
def test_an_answer_that_is_not_of_its_form_says_so(server: Server, vlm: RemoteVLM, form: Any, said: str) -> None:
    server.will({"text": said})
    result = vlm.ask(PICTURE, "Which?", form=form)
    assert [problem.kind for problem in result.problems] == [PARSE] and result.raw == said


def test_a_form_is_asked_for_in_words_where_a_server_takes_no_schema(server: Server, vlm: RemoteVLM) -> None:
    server.set(forms=[], text='{"answer": 4}')
    result = vlm.ask(PICTURE, "How many?", form="integer")
    assert result.text == "4" and "in words only" in result.problems[0].message
    assert '"answer"' in words(server.bodies()[-1])
    assert vlm.ask(PICTURE, "How many?").problems == ()


def test_a_form_that_no_schema_says_is_refused_before_anything_is_sent(server: Server, vlm: RemoteVLM) -> None:
    for form, told in ((re.compile("[A-Z]+"), "pattern"), ("line", "line"), ("colour", "colour"), (range(0), "range")):
        with pytest.raises(InputError, match=told):
            vlm.ask(PICTURE, "Which?", form=form)
    with pytest.raises(InputError, match="detect"):
        vlm.run([imglish.Request("detect", imglish_messages(""), form="integer")])
    assert server.bodies() == []


def test_what_is_no_request_is_refused_before_anything_is_sent(vlm: RemoteVLM) -> None:
    with pytest.raises(InputError, match="request 0 is 'x'"):
        vlm.run(["x"])  # type: ignore[list-item]
