"""Choosing a model: what is known of published checkpoints, the memory formula, and `imglish models`."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import shlex
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from imglish import cli
from imglish.core.errors import InputError, UnknownName
from imglish.engine import card as one
from imglish.engine import catalogue
from imglish.engine.load import FAMILIES, shipped_folder
from imglish.families._card import SIZES, Card, sizes
from imglish.families._memory import PRECISIONS, cache_bytes, memory, weight_bytes

ROOT = Path(__file__).parent.parent
CARDS = {card.name: card for card in catalogue.cards()}
RUN = [card for card in CARDS.values() if card.runs]
ANY = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
MEASURED = json.loads((ROOT / "tests/reference/memory.json").read_text(encoding="utf-8"))["rows"]
LLAMA = sizes(
    layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000, vision_layers=24, vision_hidden=1024, vision_tokens=577
)
SOME = Card(
    "owner/some-7b", "some", 7_000_000_000, "mit", True, ("en",), 4096, "336x336", frozenset({"ask", "detect"}),
    "nowhere", 2024, config=LLAMA, image_tokens=576,
)  # fmt: skip


def like(**differences: Any) -> Card:
    return dataclasses.replace(SOME, **differences)


def main(*arguments: str) -> int:
    return cli.main(["models", *arguments])


# What is known.


@ANY
def test_a_card_is_complete(card: Card) -> None:
    assert re.fullmatch(r"[\w.-]+/[\w.-]+|shipped", card.name)
    assert card.family and card.source and card.resolution
    assert card.licence == card.licence.casefold()
    assert card.skills | card.prompted <= set(catalogue.SKILLS)
    assert not card.skills & card.prompted
    assert card.skills or not card.images
    assert all(re.fullmatch("[a-z]{2,3}", language) for language in card.languages) and card.languages
    assert 2021 <= card.year <= 2030 and card.context >= 512
    assert all(one.endswith((".", "!", ")")) for one in (card.note, *card.pitfalls) if one)


@ANY
def test_a_card_has_the_sizes_that_the_formula_needs(card: Card) -> None:
    assert {"layers", "hidden", "heads", "ffn", "vocab"} <= set(card.config) <= set(SIZES)
    if card.images:
        assert all(0 < card.tokens_of(size) < card.context for size in one.SIZES)
        assert all(card.views_of(size) >= 1 for size in one.SIZES)


@ANY
def test_the_sizes_of_a_card_make_about_as_many_parameters_as_it_says(card: Card) -> None:
    config = {"ffn_matrices": 3, "tied": 0, "vision_layers": 0, "vision_hidden": 0, "encoder_layers": 0, **card.config}
    if "experts" in config or card.name == "shipped":
        return
    hidden = config["hidden"]
    head = config.get("head_dim", hidden // config["heads"])
    attention = 2 * hidden * head * (config["heads"] + config.get("kv_heads", config["heads"]))
    ffn = config["ffn_matrices"] * hidden * config["ffn"]
    decoder = config["layers"] * (attention * (2 if config["encoder_layers"] else 1) + ffn)
    encoder = config["encoder_layers"] * (attention + ffn)
    wide = config["vision_hidden"]
    seeing = config["vision_layers"] * wide * (4 * wide + 2 * config.get("vision_ffn", 4 * wide))
    counted = decoder + encoder + seeing + config["vocab"] * hidden * (1 if config["tied"] else 2)
    assert 0.5 < counted / card.parameters < 1.1


def test_every_family_has_a_card_of_its_own() -> None:
    assert set(FAMILIES.names()) == {card.family for card in RUN}


def test_the_files_of_families_are_light() -> None:
    code = f"""
import importlib, sys
for name in {FAMILIES.names()}:
    importlib.import_module(f"imglish.families.{{name}}")
    if {{"torch", "transformers"}} & set(sys.modules):
        sys.exit(f"families/{{name}}.py imports torch or transformers before it loads a model")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name",
    ["llava-v1.6-34b", "deepseek-vl-7b-base", "deepseek-vl-7b-chat", "moondream2", "cogvlm-base", "cogvlm-chat",
     "fuyu-8b", "kosmos-2", "Qwen-VL", "Qwen-VL-Chat", "Yi-VL-34B", "Phi-3.5-mini", "Phi-3.5-MoE", "Phi-3.5-vision",
     "Phi-3-vision", "Florence-2-base", "Florence-2-large", "Qwen2-VL-2B", "llava-v1.6-mistral-7b", "MiniGPT-v2"],
)  # fmt: skip
def test_the_models_that_tutorials_name_are_known(name: str) -> None:
    assert catalogue.find(name)


def test_the_shipped_card_is_true_of_the_shipped_weights() -> None:
    from safetensors import safe_open

    with safe_open(shipped_folder() / "model.safetensors", "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    card = CARDS["shipped"]
    assert card.parameters == sum(map(prod, shapes))
    processor = json.loads((shipped_folder() / "processor_config.json").read_text(encoding="utf-8"))
    assert card.tokens_of((640, 480)) == processor["image_tokens"]


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(TypeError, match="no size hiden"):
        sizes(hiden=1)


# Memory.


@pytest.mark.parametrize("row", MEASURED, ids=[row["name"] for row in MEASURED])
def test_the_formula_is_within_a_tenth_of_what_was_measured(row: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    formula = runpy.run_path(str(ROOT / "benchmarks/memory.py"))["formula"](row["name"])
    assert formula / 1e6 == pytest.approx(row["value"], rel=0.1)
    assert formula / 1e6 == pytest.approx(row["against"], rel=1e-3)  # the rows are of this formula


@ANY
def test_smaller_weights_take_less_memory(card: Card) -> None:
    totals = [memory(card, precision).total for precision in ("fp32", "bf16", "int8", "int4")]
    assert totals == sorted(totals, reverse=True) and len(set(totals)) == 4


def test_half_precision_weights_are_two_bytes_each() -> None:
    assert weight_bytes(SOME, "bf16") == 2 * SOME.parameters
    assert weight_bytes(SOME, "fp32") == 4 * SOME.parameters


def test_embeddings_are_not_quantised() -> None:
    kept = 2 * 32000 * 4096
    assert weight_bytes(SOME, "int8") == SOME.parameters - kept + 2 * kept


def test_the_cache_has_keys_and_values_of_every_token() -> None:
    assert cache_bytes(SOME, "bf16", size=(1, 1), prompt=0, answer=1) == 577 * 32 * 2 * 4096 * 2
    few = like(config=sizes(**LLAMA, kv_heads=8))
    assert cache_bytes(few, "bf16", size=(1, 1), prompt=0, answer=1) == 577 * 32 * 2 * 1024 * 2


def test_a_larger_picture_takes_more_memory_where_the_model_sees_more_of_it() -> None:
    tiled = like(image_tokens=lambda size: size[0] * size[1] // 784, views=lambda size: size[0] // 336)
    assert memory(tiled, size=(1344, 1344)).total > memory(tiled, size=(336, 336)).total
    assert memory(SOME, size=(1344, 1344)) == memory(SOME, size=(336, 336))


def test_published_figures_are_met() -> None:
    # huggingface.co/THUDM/cogvlm2-llama3-chat-19B-int4: 42 GB, and 16 GB in 4 bits, of the whole process on a GPU
    card = CARDS["THUDM/cogvlm2-llama3-chat-19B"]
    assert memory(card, "bf16").total / 1e9 == pytest.approx(42, rel=0.1)
    assert memory(card, "int4").total / 1e9 == pytest.approx(16, rel=0.15)


# Choosing.


def test_a_model_must_fit() -> None:
    small, large = like(name="a/small", parameters=3 * 10**9), SOME
    assert catalogue.choose([small, large], fits=8 * 10**9) == [small]
    assert catalogue.choose([small, large], fits=8 * 10**9, precision="int4") == [small, large]


def test_all_wishes_hold_at_once() -> None:
    cards = [SOME, like(commercial=False), like(licence="gemma"), like(skills=frozenset({"ask"})), like(runs=False)]
    assert catalogue.choose(cards, can=["detect"], licences=["mit"], commercial=True, runs=True) == [SOME]


def test_what_is_done_by_instruction_counts_only_if_asked() -> None:
    told = like(skills=frozenset({"ask"}), prompted=frozenset({"detect"}))
    assert catalogue.choose([told], can=["detect"]) == []
    assert catalogue.choose([told], can=["detect"], prompted=True) == [told]


@pytest.mark.parametrize(
    ("word", "skill"), [("OCR", "read"), ("grounding", "ground"), ("video", "watch"), (" Detect ", "detect")]
)
def test_people_s_words_for_skills_are_understood(word: str, skill: str) -> None:
    card = like(skills=frozenset({skill}))
    assert catalogue.choose([card, like(skills=frozenset())], can=[word]) == [card]


def test_several_pictures_are_a_wish_too() -> None:
    many = like(images=8)
    assert catalogue.choose([SOME, many], can=["images"]) == [many]


def test_one_of_several_licences_will_do_and_a_beginning_is_enough() -> None:
    cards = [SOME, like(licence="apache-2.0"), like(licence="gemma")]
    assert catalogue.choose(cards, licences=["MIT", "apache"]) == cards[:2]


def test_a_language_is_a_wish() -> None:
    polish = like(languages=("en", "pl"))
    assert catalogue.choose([SOME, polish], languages=["en", "PL"]) == [polish]


@pytest.mark.parametrize("by", catalogue.SORTS)
def test_every_order_keeps_every_card(by: str) -> None:
    assert {card.name for card in catalogue.arrange(CARDS.values(), by)} == set(CARDS)


def test_the_smallest_comes_first() -> None:
    totals = [memory(card, "int8").total for card in catalogue.arrange(CARDS.values(), "memory", precision="int8")]
    assert totals == sorted(totals)


@pytest.mark.parametrize(
    ("text", "count"), [("8GB", 8e9), ("8", 8e9), ("7.5 gb", 7.5e9), ("500M", 5e8), ("8GiB", 2**33), ("1t", 1e12)]
)
def test_amounts_of_memory_are_read(text: str, count: float) -> None:
    assert catalogue.parse_bytes(text) == int(count)


@given(st.text(max_size=12))
def test_any_other_text_is_refused_or_an_amount(text: str) -> None:
    try:
        count = catalogue.parse_bytes(text)
    except InputError:
        return
    assert count > 0


@pytest.mark.parametrize("text", ["", "lots", "-8GB", "0GB", "8XB", "GB", "8 8", "1e9"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not an amount of memory"):
        catalogue.parse_bytes(text)


# Finding.


def test_a_model_is_found_by_id_short_name_and_family_in_any_case() -> None:
    wanted = [CARDS["01-ai/Yi-VL-34B"]]
    assert catalogue.find("01-ai/Yi-VL-34B") == catalogue.find("yi-vl-34b") == wanted
    assert {card.name for card in catalogue.find("yi_vl")} == {"01-ai/Yi-VL-6B", "01-ai/Yi-VL-34B"}
    assert catalogue.find("Yi-VL-3") == wanted


@pytest.mark.parametrize("typed", ["moondraem2", "vikhyatk/moondream", "modream2"])
def test_a_typo_names_the_nearest(typed: str) -> None:
    with pytest.raises(UnknownName, match="moondream"):
        catalogue.find(typed)


@pytest.mark.parametrize("typed", ["", "  ", "zzzzzzzzzzzzzz"])
def test_what_is_near_nothing_says_so(typed: str) -> None:
    with pytest.raises(UnknownName, match="no model") as caught:
        catalogue.find(typed)
    assert "Did you mean" not in str(caught.value)


# Cards.


@pytest.mark.parametrize("card", RUN, ids=[card.name for card in RUN])
def test_every_skill_has_a_command_that_can_be_typed_and_a_prompt_with_the_picture(card: Card) -> None:
    commands, prompts = one.commands(card), one.prompts(card)
    assert set(commands) == set(prompts) == card.skills | card.prompted
    for skill, command in commands.items():
        program, name, *arguments = shlex.split(command)
        assert (program, name) == ("imglish", skill)
        get_command(cli.app).get_command(None, skill).make_context(skill, arguments)  # type: ignore[attr-defined,arg-type]
        assert "{image}" in prompts[skill]


def test_the_prompt_of_a_checkpoint_with_its_own_template_is_in_that_template() -> None:
    for name, asked in (("adept/fuyu-8b", "How many cats?"), ("shipped", "how many cats?")):  # as the family writes it
        card = CARDS[name]
        assert one.prompts(card)["ask"] == one.template(card).replace("{question}", asked)
        other = dataclasses.replace(card, prompt="<new>{image}|{question}</new>")
        assert one.prompts(other)["ask"] == f"<new>{{image}}|{asked}</new>"


@ANY
def test_a_card_is_printed(card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(card.name) == 0
    shown = capsys.readouterr().out
    assert card.name in shown and card.source in shown and card.licence in shown
    assert all(f"{card.tokens_of(size):,} for {size[0]}x{size[1]}" in shown for size in one.SIZES)
    assert all(pitfall in shown for pitfall in card.pitfalls)


# The command.


def test_the_table_has_every_model_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    first = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(first) == sorted(["model", *CARDS])


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from imglish import _cli_models

    monkeypatch.setattr(_cli_models, "WIDE", width)
    assert main() == 0
    shown = capsys.readouterr()
    assert all(len(line) <= width for line in shown.out.splitlines())
    assert ("left out for want of width" in shown.err) == (width < 140 or "languages" not in shown.out)
    assert width == 60 or "…" not in shown.out


def test_wishes_work_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    wishes = [
        "--fits",
        "8GB",
        "--can",
        "read,chat",
        "--licence",
        "apache",
        "--commercial",
        "--sort",
        "memory",
        "--runs",
    ]
    assert main(*wishes, "--json") == 0
    found = json.loads(capsys.readouterr().out)["models"]
    assert found[0]["name"] == "shipped"
    assert all(model["memory"]["bf16"] <= 8e9 and {"read", "chat"} <= set(model["skills"]) for model in found)
    assert all(model["licence"] == "apache-2.0" and model["commercial"] and model["runs"] for model in found)


def test_the_json_of_a_model_has_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("Yi-VL-34B", "--json") == 0
    model = json.loads(capsys.readouterr().out)
    assert model["parameters"] == 35_080_000_000 and model["image_tokens"] == {"640x480": 1024, "1920x1080": 1024}
    assert set(model["memory"]) == set(PRECISIONS)


def test_nothing_found_is_said_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--fits", "1KB") == 0
    assert "leave a wish out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fits", "lots"], "'lots' is not an amount of memory"),
        (["--can", "fly"], "no skill 'fly'"),
        (["--can", "detekt"], "Did you mean 'detect'?"),
        (["--license", "mitt"], "Did you mean 'mit'?"),
        (["--sort", "weight"], "no order 'weight'"),
        (["--precision", "int5"], "Did you mean 'int"),
        (["--language", "klingon"], "no language 'klingon'"),
        (["--can", ""], "no skill ''"),
        (["no-such-model-at-all"], "no model 'no-such-model-at-all'"),
        (["shipped", "--fits", "8GB"], "names a model"),
    ],
)
def test_bad_input_is_a_clear_error_with_exit_status_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "hint:" in error


@pytest.mark.parametrize("arguments", [["models", "shipped"], ["models", "--fits", "8GB", "--json"]])
def test_choosing_loads_no_torch(arguments: list[str]) -> None:
    code = f"""
import sys
from imglish.cli import main
assert main({arguments}) == 0
print([name for name in ("torch", "transformers", "supervision") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
