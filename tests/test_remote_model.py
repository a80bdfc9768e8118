"""Real models behind a real server: what a skill gives from there is what it gives from the same model here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

import imglish
from imglish.engine.load import FAMILIES
from model_server import Server, serve

SERVED = {
    "Qwen/Qwen2-VL-2B-Instruct": "qwen2_vl",
    "Qwen/Qwen2.5-VL-3B-Instruct": "qwen2_5_vl",
    "Qwen/Qwen3-VL-2B-Instruct": "qwen3_vl",
    "llava-hf/llava-1.5-7b-hf": "llava",
    "HuggingFaceTB/SmolVLM2-256M-Video-Instruct": "smolvlm",
}
CALLS: dict[str, tuple[Any, ...]] = {
    "ask": ("Which colour?",), "caption": (), "count": ("cats",), "detect": (["cat", "dog"],), "extract": (["shop"],),
    "ground": ("the cat",), "identify": ((28, 14, 84, 70),), "read": (), "segment": ("the cat",),
}  # fmt: skip


def picture(colour: str = "red", size: tuple[int, int] = (112, 84)) -> Image.Image:
    """Its sides are whole patches of every family, so that nobody resizes it."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((20, 10, 80, 70), fill=colour)
    return image


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, serve(*(f"{name}={family}" for name, family in SERVED.items())) as one:
        for name in ("IMGLISH_API_KEY", "OPENAI_API_KEY", "HTTP_PROXY", "http_proxy"):
            patch.delenv(name, raising=False)
        yield one


@pytest.mark.parametrize("name", SERVED)
def test_every_skill_of_a_known_model_answers_as_the_model_does_here(server: Server, name: str) -> None:
    here = imglish.VLM(FAMILIES.get(SERVED[name])().tiny(), max_tokens=12, guided=False)  # the server has no grammars
    skills = [skill for skill in CALLS if skill in here.skills]
    with imglish.load(server.url, model=name) as there:
        there.options = here.options.__class__(max_tokens=12)
        for skill in skills:
            mine = getattr(here, skill)(picture(), *CALLS[skill])
            theirs = getattr(there, skill)(picture(), *CALLS[skill])
            assert theirs.raw == mine.raw, skill
            assert theirs.receipt.prompt_tokens == mine.receipt.prompt_tokens, skill
            assert theirs.receipt.prompted == mine.receipt.prompted, skill
            assert theirs.parsed == mine.parsed and type(theirs) is type(mine)
            for place in ("xyxy", "labels", "text", "data"):
                assert str(getattr(theirs, place, None)) == str(getattr(mine, place, None)), skill
        other = there.ask(picture("blue"), *CALLS["ask"])
    assert other.raw != here.ask(picture(), *CALLS["ask"]).raw  # the picture matters to this model


def test_a_conversation_is_the_same_there_as_here(server: Server) -> None:
    name = "Qwen/Qwen3-VL-2B-Instruct"
    here = imglish.VLM(FAMILIES.get(SERVED[name])().tiny(), max_tokens=8)
    with imglish.load(server.url, model=name) as there:
        mine, theirs = here.chat(system="Short."), there.chat(system="Short.", max_tokens=8)
        assert theirs.say("What is this?", image=picture()).text == mine.say("What is this?", image=picture()).text
        assert [m.text for m in theirs.messages] == [m.text for m in mine.messages]
        # a random model may have named a special token, which has power on a server: go on from plain text
        turns = [
            *mine.messages[:-1],
            {"role": "assistant", "content": "A circle."},
            {"role": "user", "content": "Sure?"},
        ]
        assert "".join(there.stream(turns, max_tokens=8)) == "".join(here.stream(turns))


def test_the_command_line_talks_to_a_server(server: Server, tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    common = ["--model", server.url, "--model-name", "Qwen/Qwen3-VL-2B-Instruct", "--max-tokens", "5", "--json"]

    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "imglish.cli", *arguments], cwd=tmp_path, capture_output=True, text=True,
            check=False, env={**os.environ, "NO_PROXY": "*"},
        )  # fmt: skip

    done = cli("ask", "a.png", "Which colour?", *common)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["receipt"]["remote"] == server.url and told["receipt"]["generated_tokens"] == 5
    unnamed = cli("ask", "a.png", "Which colour?", "--model", server.url)
    assert unnamed.returncode == 2 and "Qwen/Qwen2-VL-2B-Instruct" in unnamed.stderr
    alone = cli("ask", "a.png", "Which colour?", "--model-name", "x")
    assert alone.returncode == 2 and "not the address of a server" in alone.stderr


def test_the_shipped_model_answers_through_a_server() -> None:
    scene = imglish.world.draw("things", 7)
    with serve("shipped") as server, imglish.load(server.url) as there:
        asked = "How many things are there?"
        here = imglish.load()
        assert there.ask(scene.images[0], asked).text == here.chat().say(asked, image=scene.images[0]).text
