"""The recipe of the shipped model: seeds that cannot meet, rows that equal their questions, stages that go on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes/shipped"))

import itertools
from functools import partial

import loop
import muon
import pack
import point
import scenes
import see
import speak
import start
import targets

import imglish
from imglish import world
from imglish.families._imglish_model import train_tokenizer, wrap_tokenizer
from imglish.world._scene import HELD_OUT


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return wrap_tokenizer(train_tokenizer(["How many cats are there?", "a red cat", "yes", "no"] * 5, size=500))


def test_no_stage_can_draw_a_held_out_scene_or_one_of_another_stage() -> None:
    ranges = [scenes.seeds(stage, 0, scenes.STRIDE) for stage in scenes.STAGES]
    assert all(early.stop <= late.start for early, late in itertools.pairwise(ranges))
    assert ranges[-1].stop <= HELD_OUT <= min(world.seeds("held", 0, 10))
    with pytest.raises(SystemExit, match="ran out"):
        scenes.seeds("see", scenes.STRIDE - 1, 2)


def test_workers_and_batches_never_share_a_seed() -> None:
    taken: list[int] = []
    for rank in range(3):
        source = scenes.batches("talk", rank, 3, 8, 0)
        taken += [seed for _ in range(4) for seed in next(source)]
    assert len(set(taken)) == len(taken) == 96


def test_a_stage_goes_on_at_its_next_batch() -> None:
    source = scenes.batches("see", 1, 2, 8, 0)
    first = [next(source) for _ in range(5)]
    assert next(scenes.batches("see", 1, 2, 8, 4)) == first[4]


@pytest.mark.parametrize("stage", ["talk", "instruct"])
def test_a_packed_row_gives_each_question_the_logits_it_has_alone(tokenizer: Any, stage: str) -> None:
    torch.manual_seed(0)
    model = speak.bridge(tokenizer).eval()
    row = speak.Packer(tokenizer, stage).row(3)
    batch = speak.collated([row])
    with torch.inference_mode():
        together = logits(model, batch)[0, len(row.prefix) :]
        segments = np.array(row.segment)
        for number in sorted(set(row.segment))[:4]:
            mine = np.flatnonzero(segments == number)
            alone = pack.Row(row.prefix, row.pixels, row.frames, row.scene)
            alone.add(1, [row.ids[i] for i in mine[:-1]], [row.ids[mine[-1]]], len(row.prefix))
            apart = logits(model, speak.collated([alone]))[0, len(row.prefix) :]
            assert torch.allclose(together[torch.from_numpy(mine)], apart, atol=1e-4)
    assert len(set(row.segment)) > 2


def logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    features = None
    if batch["pixels"] is not None:
        features = speak.adapted(model, model.vision(batch["pixels"]).last_hidden_state, batch["frames"])
    embedded = model.embed(batch["ids"], features)
    given = {"attention_mask": batch["mask"], "position_ids": batch["position"]}
    result: torch.Tensor = model.decoder(inputs_embeds=embedded, use_cache=False, **given).logits
    return result


def test_targets_say_where_everything_is() -> None:
    config = see.config()
    names = {name: number for number, name in enumerate(config.classes) if name}
    colours = {name: number for number, name in enumerate(config.colours)}
    scene = world.draw("things", 11, size=(256, 192))
    row = targets.targets(scene, 0, names, colours, 192)
    boxes = {tuple(np.round(box * 192, 2)) for box in row["box"][row["class"] > 0]}
    fitted = targets.frame(scene.images[0], 192)[1]
    wanted = {tuple(np.round(fitted.forward(np.reshape(t.box, (2, 2))).reshape(4), 2)) for t in scene.things}
    assert boxes <= wanted
    assert {config.classes[n] for n in row["class"] if n} == {thing.name for thing in scene.things}
    share = row["mask"].sum() * 4 / (sum(t.bitmap.sum() for t in scene.things) * fitted.scale_x**2)
    assert 0.85 < share < 1.15


def test_every_letter_and_every_space_of_a_line_has_its_cell() -> None:
    config = see.config()
    scene = next(s for s in map(partial(world.draw, "text"), range(50)) if any(" " in line.string for line in s.lines))
    row = targets.targets(scene, 0, {}, {}, 192)
    found = sorted(config.letters[n] for n in row["letter"].flatten() if n > 0)
    assert found == sorted(config.letters[targets.spell(c)[0]] for line in scene.lines for c in line.string)


def test_a_fit_reads_what_was_laid_and_nothing_else() -> None:
    torch.manual_seed(0)
    way = torch.linalg.qr(torch.randn(32, 6))[0]
    code, noise = torch.randn(500, 3), torch.randn(500, 3)
    read = point.fit(torch.cat((code, noise), 1) @ way.T, code)
    assert read.shape == (3, 32)
    torch.testing.assert_close(read @ way[:, :3], torch.eye(3), atol=0.03, rtol=0)
    assert (read @ way[:, 3:]).abs().max() < 0.03


def test_what_pointing_heads_compare_does_not_learn_and_the_others_do(tokenizer: Any) -> None:
    torch.manual_seed(0)
    model = speak.bridge(tokenizer).train()
    AttentionInterface.register("packed", speak.attention)
    model.decoder.config._attn_implementation = "packed"
    speak.pin(model)
    layers = model.decoder.model.layers
    before = [layer.self_attn.q_proj.weight.detach().clone() for layer in layers]
    batch = speak.collated([speak.Packer(tokenizer, "talk").row(3)])
    chosen = loop.optimizers(model, loop.Plan("instruct", Path(), 1.0))
    for _ in range(2):
        loop.step(model, lambda batch: speak.answer_loss(model, batch, None), batch, chosen, factor=1.0)
    wide = model.decoder.config.head_dim
    for number, (layer, old) in enumerate(zip(layers, before, strict=True)):
        changed = (layer.self_attn.q_proj.weight - old).abs().unflatten(0, (-1, wide)).amax((1, 2))
        pinned = {head for depth, head in (point.NOUN, point.COLOUR, point.PAIRS, point.NAMES) if depth == number}
        for head, change in enumerate(changed.tolist()):
            assert change < 1e-4 if head in pinned else change > 1e-4


def test_a_head_that_holds_a_noun_looks_at_the_last_one() -> None:
    torch.manual_seed(0)
    words = PreTrainedTokenizerFast.from_pretrained(Path(imglish.__file__).parent / "families/data")
    model = speak.bridge(words).eval()
    model.decoder.config._attn_implementation = "eager"
    pointer = point.Pointer(model, words)
    held = torch.linalg.qr(torch.randn(256, 24))[0].T
    nouns = list(pointer.words["name"])[:2]
    other = next(token for token in range(400, 500) if token not in pointer.words["name"])
    ids = torch.tensor([[other, nouns[0], other, other, other, nouns[1], other, other]])
    with torch.inference_mode():
        pointer.hold(point.NOUN, "name", held)
        looks = model.decoder.model(ids, output_attentions=True).attentions[0][0, point.NOUN[1]]
    assert looks[4, 1] > 0.6
    assert looks[7, 5] > 0.6


def test_a_saved_stage_is_loaded_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plan = loop.Plan("see", tmp_path, 1.0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))

    def loss_of(batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        return model(batch).square().mean(), {"samples": 3}

    keeper = loop.Keeper(model, plan, loop.optimizers(model, plan))
    for _ in range(3):
        keeper.count(*loop.step(model, loss_of, torch.ones(3, 4), keeper.chosen, factor=1.0))
    keeper.spent = 12.5
    keeper.save()
    other = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    again = loop.Keeper(other, plan, loop.optimizers(other, plan))
    again.load()
    assert (again.number, again.seen, again.spent) == (3, 9, 12.5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    momentum = [state["momentum"] for state in again.chosen[0].state.values()]
    assert momentum and all(value.abs().sum() > 0 for value in momentum)


def test_muon_steps_are_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((16, 64), (64, 16)):
        values = torch.linalg.svdvals(muon.orthogonal(torch.randn(shape)))
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.4


def test_the_rate_warms_up_and_comes_to_rest() -> None:
    plan = loop.Plan("see", Path(), 1.0)
    rates = [loop.rate(progress / 100, plan) for progress in range(101)]
    assert rates[0] < 0.1 < max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates[-1] == pytest.approx(plan.floor)


def test_a_run_can_begin_from_the_shipped_checkpoint_and_go_on(tmp_path: Path) -> None:
    start.start(tmp_path, Path(speak.__file__).parents[2] / "src/imglish/families/data")
    tokenizer = speak.PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer")
    model = speak.bridge(tokenizer)
    missing, unexpected = model.load_state_dict(speak.load_file(tmp_path / "align.safetensors"), strict=False)
    assert (set(missing), unexpected) == ({"decoder.lm_head.weight"}, [])  # tied to the embedding
    encoder = see.Sight(see.config())
    encoder.load_state_dict(speak.load_file(tmp_path / "see_warm.safetensors"))
    (tmp_path / "align.safetensors").write_bytes(b"what a run has made of it")
    start.start(tmp_path, Path("nowhere"))
    assert (tmp_path / "align.safetensors").read_bytes() == b"what a run has made of it"


def test_a_true_outline_is_written_with_the_points_nearest_to_those_of_its_note() -> None:
    square = np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6]])
    found = speak.nearest(square, np.array([[0.3, 0.15], [0.7, 0.7], [0.25, 0.4], [0.6, 0.35]]))
    assert found.round(9).tolist() == [[0.3, 0.2], [0.6, 0.6], [0.2, 0.4], [0.6, 0.35]]


def test_attention_in_training_is_that_of_transformers(tokenizer: Any) -> None:
    torch.manual_seed(0)
    model = speak.bridge(tokenizer).eval()
    batch = speak.collated([speak.Packer(tokenizer, "talk").row(seed) for seed in (3, 4)])
    speak.AttentionInterface.register("packed", speak.attention)
    with torch.inference_mode():
        plain = logits(model, batch)
        model.decoder.config._attn_implementation = "packed"
        assert torch.allclose(logits(model, batch), plain, atol=1e-4)
