"""Messages, samples and errors."""

import pytest

from imglish.core.errors import ImageError, ImglishError, InputError, UnknownName
from imglish.core.types import ImagePart, Message, Sample, TextPart, VideoPart, to_messages


def test_a_string_is_one_user_message():
    assert to_messages("What is this?") == (Message("user", (TextPart("What is this?"),)),)


def test_openai_and_transformers_users_write_the_same_message():
    openai = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "text", "text": "What?"}],
    }
    transformers = {
        "role": "user",
        "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What?"}],
    }
    expected = (Message("user", (ImagePart("a.png"), TextPart("What?"))),)
    assert to_messages([openai]) == to_messages([transformers]) == to_messages(openai) == expected


@pytest.mark.parametrize("key", ["image", "url", "path"])
def test_every_key_for_an_image_that_transformers_knows_is_accepted(key):
    part = {"type": "image", key: "a.png"}
    assert to_messages([{"role": "user", "content": [part]}])[0].images == ("a.png",)


def test_bare_base64_becomes_a_data_url():
    part = {"type": "image", "base64": "QUJD"}
    assert to_messages([{"role": "user", "content": [part]}])[0].images == ("data:image/png;base64,QUJD",)


def test_base64_that_is_a_data_url_already_stays_as_it_is():
    part = {"type": "image", "base64": "data:image/jpeg;base64,QUJD"}
    assert to_messages([{"role": "user", "content": [part]}])[0].images == ("data:image/jpeg;base64,QUJD",)
    both = {"type": "image", "image": "a.png", "base64": None}
    assert to_messages([{"role": "user", "content": [both]}])[0].images == ("a.png",)


def test_a_developer_is_what_older_models_call_system():
    assert to_messages([{"role": "developer", "content": "Be brief."}]) == (
        Message("system", (TextPart("Be brief."),)),
    )


@pytest.mark.parametrize("content", [{"content": None}, {}], ids=["None", "left out"])
def test_a_turn_that_only_calls_tools_has_no_words(content):
    call = {"role": "assistant", "tool_calls": [{"id": "1"}], **content}
    assert [message.text for message in to_messages([call])] == [""]
    assert to_messages([{"role": "assistant", "content": None}])[0].text == ""


@pytest.mark.parametrize("kind", ["text", "input_text", "output_text"])
def test_text_is_text_whoever_wrote_it(kind):
    said = {"role": "assistant", "content": [{"type": kind, "text": "A cat."}]}
    assert to_messages([said])[0].parts == (TextPart("A cat."),)


@pytest.mark.parametrize("kind", ["video", "video_url"])
@pytest.mark.parametrize(
    "named", [{"path": "a.mp4"}, {"url": "a.mp4"}, {"video": "a.mp4"}, {"video_url": {"url": "a"}}]
)
def test_a_video_given_otherwise_is_told_how_frames_are_given(kind, named):
    with pytest.raises(InputError, match="a list of its frames") as caught:
        to_messages([{"role": "user", "content": [{"type": kind, **named}]}])
    assert '{"type": "video", "video": ["1.png", "2.png"]}' in caught.value.hint
    assert "allowed are" not in str(caught.value)


def test_a_video_is_its_frames_in_order():
    part = {"type": "video", "video": ["1.png", "2.png"], "fps": 2.0}
    assert to_messages([{"role": "user", "content": [part]}])[0].parts == (VideoPart(("1.png", "2.png"), 2.0),)


def test_messages_of_our_own_pass_through_unchanged():
    chat = (Message("system", (TextPart("Be brief."),)), Message("user", (ImagePart("a.png"), TextPart("What?"))))
    assert to_messages(chat) == chat
    assert to_messages(chat[1]) == (chat[1],)
    assert chat[1].text == "What?"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([{"role": "robot", "content": "hi"}], "robot"),
        ([{"role": "user"}], "message 0"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "smell"}]}], "message 1, part 0"),
        ([{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}], "list of its frames"),
        ([{"role": "user", "content": [{"type": "image"}]}], "part 0 .*an image part names its picture"),
        (
            [{"role": "user", "content": [{"type": "image", "base64": b"QUJD"}]}],
            "image, image_url, url, path or base64",
        ),
        ([{"role": "user", "content": [{"type": "text", "text": None}]}], "a text part has 'text'"),
        ([{"role": "user", "content": 7}], "content 7"),
        ([{"role": "user", "content": None}], "content None"),
        ([{"role": "user", "content": b"What?"}], "content b'What"),
        ([{"role": "user", "tool_calls": []}], "message 0"),
        (["What?"], "message 0"),
        (7, "7"),
        (None, "None"),
        (b"bytes", "bytes"),
    ],
)
def test_what_is_not_a_message_is_named_in_the_error(value, named):
    with pytest.raises(InputError, match=named):
        to_messages(value)


def test_special_tokens_in_text_stay_text():
    (message,) = to_messages("<|im_end|><image>")
    assert message.parts == (TextPart("<|im_end|><image>"),)


def test_a_sample_asks_its_own_request():
    sample = Sample("1", "ask", ("a.png", "b.png"), "What changed?", "Nothing.", None, language="pl")
    request = sample.request()
    assert (request.skill, request.text, request.language) == ("ask", "What changed?", "pl")
    assert request.messages[0].images == ("a.png", "b.png")
    assert request.messages[0].text == "What changed?"


def test_a_watching_sample_shows_one_video():
    sample = Sample("1", "watch", ("a.png", "b.png"), "Where to?", "left", None)
    assert sample.request().messages[0].parts == (VideoPart(("a.png", "b.png")), TextPart("Where to?"))


def test_an_error_shows_its_hint_on_a_line_of_its_own():
    assert str(ImglishError("it broke", hint="mend it")) == "it broke\nhint: mend it"
    assert str(ImglishError("it broke")) == "it broke"


def test_bad_input_ends_with_status_2_and_failure_with_1():
    assert ImageError("x").exit_status == UnknownName("family", "x", []).exit_status == 2
    assert ImglishError("x").exit_status == 1


def test_an_unknown_name_comes_with_the_nearest_one_if_there_is_a_near_one():
    assert "Did you mean 'florence2'?" in str(UnknownName("family", "florense2", ["florence2", "llava"]))
    assert "Did you mean" not in str(UnknownName("family", "zzzz", ["florence2", "llava"]))
    assert "florence2, llava" in str(UnknownName("family", "zzzz", ["llava", "florence2"]))
