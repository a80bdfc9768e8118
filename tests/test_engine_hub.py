"""Checkpoints of the hub: the real client against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import imglish
from hub_server import TOKEN, Hub, hub, layout
from imglish import cli
from imglish.core.errors import CheckpointError, DownloadError, InputError, UnknownName
from imglish.engine import hub as engine_hub
from imglish.engine import load as engine_load
from imglish.engine import precision
from imglish.engine.hub import checkpoint_folder
from imglish.families.imglish import Family

__all__ = ["hub"]

NAME = "microsoft/Florence-2-base"
SMALL = {
    "config.json": '{"model_type": "florence2", "auto_map": {"AutoConfig": "configuration_florence2.Florence2Config"}}',
    "configuration_florence2.py": "raise SystemExit('run')",
    "preprocessor_config.json": "{ }",
    "tokenizer.json": "{}",
    "merges.txt": "a b",
    "chat_template.jinja": "{{ messages }}",
    "tokenizer.model": "model",
    "README.md": "# Florence",
    ".gitattributes": "",
}
FILES = SMALL | {
    "model-00001-of-00002.safetensors": "a" * 500_000,
    "model-00002-of-00002.safetensors": "b" * 300_000,
    "model.safetensors.index.json": "[]",
    "pytorch_model.bin": "pickle",
    "consolidated.safetensors": "c",
    "onnx/model.safetensors": "d",
    "onnx/config.json": "{}",
    "training_args.bin": "e",
}
WANTED = {
    "config.json", "preprocessor_config.json", "tokenizer.json", "merges.txt", "chat_template.jinja", "tokenizer.model",
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
}  # fmt: skip


@pytest.fixture
def cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache; this process takes the server for the hub, and waits for nothing between two tries."""
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    with hub.environment(tmp_path / "cache", HF_TOKEN_PATH=str(tmp_path / "token")):
        yield tmp_path / "cache"


def test_what_a_checkpoint_needs_is_downloaded_and_nothing_that_runs(hub: Hub, cache: Path) -> None:
    hub.add(NAME, FILES)
    folder = checkpoint_folder(NAME)
    assert {path.name for path in folder.iterdir()} == WANTED
    assert (folder / "model-00001-of-00002.safetensors").read_text() == FILES["model-00001-of-00002.safetensors"]
    assert set(hub.downloaded()) == WANTED
    assert not [path for path in hub.asked("HEAD") if path.endswith((".py", ".bin"))]


def test_the_small_files_come_before_the_weights(hub: Hub, cache: Path) -> None:
    hub.add(NAME, FILES)

    def refuse(folder: Path) -> None:
        assert json.loads((folder / "config.json").read_text())["model_type"] == "florence2"
        raise UnknownName("family", "florence2", ["imglish"])

    def fail(folder: Path) -> None:
        raise RuntimeError("not the hub's")

    with pytest.raises(UnknownName):
        checkpoint_folder(NAME, accept=refuse)
    with pytest.raises(RuntimeError, match="not the hub's"):
        checkpoint_folder(NAME, accept=fail)
    assert not [name for name in hub.downloaded() if name.endswith(".safetensors")]


def test_what_is_in_the_cache_is_not_fetched_again(hub: Hub, cache: Path) -> None:
    hub.add(NAME, FILES)
    first = checkpoint_folder(NAME)
    hub.requests.clear()
    assert checkpoint_folder(NAME) == first
    assert hub.downloaded() == []
    assert len(hub.requests) == 2
    hub.add(NAME, FILES | {"config.json": '{"model_type": "florence2", "version": 2}'})
    second = checkpoint_folder(NAME)
    assert second != first
    assert set(hub.downloaded()) == {"config.json"}


def test_progress_is_shown_on_stderr_while_something_comes(
    hub: Hub, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.add(NAME, FILES)
    checkpoint_folder(NAME)
    shown = capfd.readouterr()
    assert "Fetching 9 files" in shown.err
    assert shown.out == ""
    checkpoint_folder(NAME)
    assert capfd.readouterr() == ("", "")


def test_a_revision_is_a_branch_or_a_commit(hub: Hub, cache: Path) -> None:
    repository = hub.add(NAME, FILES)
    hub.add(NAME, FILES | {"merges.txt": "c d"}, revision="refs/pr/3")
    assert (checkpoint_folder(NAME, revision="refs/pr/3") / "merges.txt").read_text() == "c d"
    folder = checkpoint_folder(NAME, revision=repository.commit("main"))
    assert (folder / "merges.txt").read_text() == "a b"
    assert checkpoint_folder(NAME) == folder


def test_a_wrong_revision_is_told_with_those_that_are(hub: Hub, cache: Path) -> None:
    hub.add(NAME, FILES)
    hub.add(NAME, FILES, revision="v1.0")
    with pytest.raises(InputError, match=r"'microsoft/Florence-2-base' has no revision 'v2'") as caught:
        checkpoint_folder(NAME, revision="v2")
    assert caught.value.hint == "known are main, v1.0, and every commit"
    for wrong in ("", "../../x"):
        with pytest.raises(InputError, match="is no revision"):
            checkpoint_folder(NAME, revision=wrong)


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(NAME, FILES)
    name = "model-00001-of-00002.safetensors"
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)  # what it keeps at once; 10 MB else
    hub.cut(name, after=200_000, times=2)
    folder = checkpoint_folder(NAME)
    assert (folder / name).read_text() == FILES[name]
    ranges = [seen.headers.get("range") for seen in hub.requests if seen.method == "GET" and seen.path.endswith(name)]
    assert ranges == [None, "bytes=200000-", "bytes=400000-"]


def test_a_connection_that_stays_cut_says_so_and_keeps_what_is_whole(hub: Hub, cache: Path) -> None:
    hub.add(NAME, FILES)
    hub.cut("model-00002-of-00002.safetensors", times=100)
    with pytest.raises(DownloadError, match=r"download of 'microsoft/Florence-2-base' broke off") as caught:
        checkpoint_folder(NAME)
    assert "run the same again" in caught.value.hint
    hub.cuts.clear()
    hub.requests.clear()
    assert {path.name for path in checkpoint_folder(NAME).iterdir()} == WANTED
    assert "model-00002-of-00002.safetensors" in hub.downloaded()
    assert "config.json" not in hub.downloaded()


def test_offline_the_cache_serves_and_nothing_is_asked(hub: Hub, cache: Path) -> None:
    hub.add(NAME, FILES)
    folder = checkpoint_folder(NAME)
    hub.requests.clear()
    with hub.environment(cache, HF_HUB_OFFLINE="1"):
        assert checkpoint_folder(NAME) == folder
        with pytest.raises(DownloadError, match=r"'a/b' is not in .*, and HF_HUB_OFFLINE forbids") as caught:
            checkpoint_folder("a/b")
        assert "unset HF_HUB_OFFLINE" in caught.value.hint
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(DownloadError, match="or not all of it"):
            checkpoint_folder(NAME)
    assert hub.requests == []


def test_without_a_network_the_cache_serves_with_a_warning(
    hub: Hub, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.add(NAME, FILES)
    folder = checkpoint_folder(NAME)
    with hub.environment(cache, HF_ENDPOINT="http://127.0.0.1:9"):
        with caplog.at_level(logging.WARNING, "imglish"):
            assert checkpoint_folder(NAME) == folder
        assert "cannot reach http://127.0.0.1:9" in caplog.text
        assert "the copy in the cache is used" in caplog.text
        with pytest.raises(DownloadError, match=r"cannot reach http://127\.0\.0\.1:9 for 'a/b'") as caught:
            checkpoint_folder("a/b")
        assert "check the network" in caught.value.hint


def test_a_gated_repository_says_where_to_agree(hub: Hub, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub.add(NAME, FILES, gated=True)
    with pytest.raises(CheckpointError, match="gated: its authors ask for an agreement") as caught:
        checkpoint_folder(NAME)
    assert f"{hub.url}/{NAME}" in caught.value.hint
    assert "hf auth login" in caught.value.hint
    stranger = pytest.raises(CheckpointError, match="the account of your token has no access")
    with hub.environment(cache, HF_TOKEN="hf_stranger"), stranger:
        checkpoint_folder(NAME)
    with hub.environment(cache, HF_TOKEN=TOKEN):
        assert (checkpoint_folder(NAME) / "config.json").exists()
    tokens = {seen.headers.get("authorization") for seen in hub.requests if seen.path.startswith("/big/")}
    assert tokens == {None}, "a token went to the host of the large files"


def test_an_unknown_or_private_repository_is_told_as_such(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("me/secret", FILES, private=True)
    cards = {"microsoft/florence-2-base": NAME}
    monkeypatch.setattr("imglish.engine._hub_errors._published", lambda: cards)
    with pytest.raises(InputError, match=r"no model 'me/secret', or it is private\n") as caught:
        checkpoint_folder("me/secret")
    assert "hf auth login" in caught.value.hint
    with pytest.raises(InputError, match=r"Did you mean 'microsoft/Florence-2-base'\?"):
        checkpoint_folder("Microsoft/Florence2-base")
    with hub.environment(cache, HF_TOKEN=TOKEN):
        assert checkpoint_folder("me/secret").is_dir()
    with hub.environment(cache, HF_TOKEN="nonsense"), pytest.raises(InputError, match="does not accept your token"):
        checkpoint_folder("me/other")
    for wrong in ("a--b/c", "a b/c", "-a/c"):
        with pytest.raises(InputError, match="is not a name on the hub"):
            checkpoint_folder(wrong)


@pytest.mark.parametrize(("status", "says"), [(429, "too many requests"), (503, "status 503"), (403, "does not let")])
def test_what_the_hub_answers_is_told(hub: Hub, cache: Path, status: int, says: str) -> None:
    hub.status = status
    with pytest.raises(CheckpointError, match=says) as caught:
        checkpoint_folder(NAME)
    assert caught.value.hint


def test_a_disk_without_room_is_told_before_anything_is_downloaded(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, FILES)
    with monkeypatch.context() as small:
        small.setattr(engine_hub.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(DownloadError, match=r"needs 800 kB more, and the disk of .* has 1 kB left") as caught:
            checkpoint_folder(NAME)
    assert "HF_HOME" in caught.value.hint
    assert hub.downloaded() == []
    checkpoint_folder(NAME)
    monkeypatch.setattr(engine_hub.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert checkpoint_folder(NAME).is_dir(), "what is there needs no room"


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "the disk of .* is full"), (errno.EROFS, "cannot write to")]
)
def test_a_disk_that_fails_on_the_way_is_told(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    hub.add(NAME, FILES)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    with pytest.raises(DownloadError, match=says) as caught:
        checkpoint_folder(NAME)
    assert "HF_HOME" in caught.value.hint


def test_what_cannot_be_loaded_is_refused_before_it_is_downloaded(hub: Hub, cache: Path) -> None:
    hub.add("a/pickled", SMALL | {"pytorch_model.bin": "p", "training_args.bin": "q"})
    with pytest.raises(CheckpointError, match=r"only as pickle \(pytorch_model\.bin\), which can run any code") as one:
        checkpoint_folder("a/pickled")
    assert "refs/pr/1" in one.value.hint
    hub.add("a/adapter", {"config.json": "{}", "adapter_config.json": "{}", "adapter_model.safetensors": "w"})
    with pytest.raises(CheckpointError, match="LoRA adapter"):
        checkpoint_folder("a/adapter")
    hub.add("a/gguf", {"model.gguf": "g"})
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        checkpoint_folder("a/gguf")
    assert hub.downloaded() == []


@pytest.fixture
def bridge() -> dict[str, bytes]:
    """The shipped family's small model, laid out as a published one: in shards, with code and a pickle next to it."""
    tiny = Family().tiny()
    return layout(tiny.model, tiny.processor, shards=3, code=["modeling_bridge.py"], pickled=True)


def test_a_name_of_the_hub_is_a_model_like_any_other(
    hub: Hub, cache: Path, bridge: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    hub.add("somebody/bridge", bridge, revision="main")
    engine_load._say_once.cache_clear()
    with caplog.at_level(logging.INFO, "imglish"):
        vlm = imglish.load("somebody/bridge", revision="main")
        imglish.load("somebody/bridge", revision="main")
    answer = vlm.ask(Image.new("RGB", (64, 48)), "What is this?", max_tokens=3)
    assert answer.receipt is not None
    assert answer.receipt.checkpoint == "somebody/bridge@main"
    assert caplog.text.count("asks to run code of its own (modeling_bridge.py): ignored") == 1
    assert caplog.text.count("downloading 'somebody/bridge' at 'main'") == 1
    assert vlm.loaded.model.dtype.is_floating_point
    assert "modeling_bridge.py" not in hub.downloaded()


def test_a_model_that_no_family_knows_is_refused_before_its_weights(hub: Hub, cache: Path) -> None:
    hub.add("google/bert", {"config.json": '{"model_type": "bert"}', "model.safetensors": "x" * 1000})
    with pytest.raises(UnknownName, match="no family for the model_type 'bert'"):
        imglish.load("google/bert")
    assert hub.downloaded() == ["config.json"]


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder") as caught:
        imglish.load(tmp_path, revision="main")
    assert "only a name on the hub" in caught.value.hint


def test_the_command_line_takes_a_name_and_says_what_it_does_on_stderr(
    hub: Hub, cache: Path, bridge: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.add("somebody/bridge", bridge)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    ask = ["ask", str(tmp_path / "a.png"), "What?", "--max-tokens", "2", "--json", "--model"]
    done = subprocess.run(
        [sys.executable, "-m", "imglish.cli", *ask, "somebody/bridge", "--revision", "main", "--dtype", "float32"],
        env={**os.environ, **hub.variables(cache)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["receipt"]["checkpoint"] == "somebody/bridge@main"
    assert "downloading 'somebody/bridge' at 'main'" in done.stderr
    assert "asks to run code of its own (modeling_bridge.py): ignored" in done.stderr
    assert cli.main([*ask, "somebody/bridge", "--revision", "v9"]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "error: 'somebody/bridge' has no revision 'v9'\nhint: known are main" in shown.err
    hub.status = 503
    assert cli.main([*ask, "somebody/else"]) == 1
    assert "status 503" in capfd.readouterr().err


def test_bfloat16_is_taken_where_it_is_native_and_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    natural = precision.natural_dtype.__wrapped__
    times = {"float32": 2.0, "bfloat16": 1.0}
    monkeypatch.setattr(precision, "_seconds", lambda device, dtype: times[dtype])
    monkeypatch.setattr(precision, "_is_native", lambda device: True)
    monkeypatch.setattr(precision, "_is_sure", lambda device: False)
    assert natural("cpu") == "bfloat16"
    times["bfloat16"] = 1.95
    assert natural("cpu") == "float32"
    monkeypatch.setattr(precision, "_is_sure", lambda device: True)
    assert natural("cpu") == "bfloat16"  # instructions tell: nothing is measured
    times["bfloat16"] = 1.0
    monkeypatch.setattr(precision, "_is_native", lambda device: False)
    assert natural("cpu") == "float32"
    monkeypatch.undo()
    assert precision.natural_dtype("cpu") in ("float32", "bfloat16")


@pytest.mark.parametrize("natural", ["float32", "bfloat16"])
def test_the_shipped_model_is_in_the_natural_precision_unless_told(
    natural: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_load, "natural_dtype", lambda device: natural)
    assert str(engine_load.load_checkpoint(device="cpu").model.dtype) == f"torch.{natural}"
    assert str(engine_load.load_checkpoint(device="cpu", dtype="float32").model.dtype) == "torch.float32"
