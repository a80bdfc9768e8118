"""Words and readings begin with one code: the word "skull" carries the vector by which the encoder says "skull".

The encoder names what it sees by short vectors (`class_codes`, `colour_codes`, `letter_codes`). Here each of them is
laid into the embedding of its words; a few units of the adapter carry the codes, and the waves of the boxes, straight
through; a head or two of each layer compare the one with the other. A question then finds its thing by likeness, one
skill for all names, where a decoder that begins without it has to learn every pair of a word and a code apart, and in
an hour did not. Only a beginning: everything is trained on.
"""

from __future__ import annotations

from typing import Any

import torch
from axes import KEEN, OCTAVES, axes_of_places, colours_of, compare, names_of, token_of
from notes import Directions, lay_heads, lay_notes

from imglish.nn import Bridge

AVOID = 56  # directions in which a thing is seen, that notes say nothing else in
NOTED = 4.0  # how loud notes are; the tokens of the grid are loud without it
SPOKEN, SEEN = 1.5, 1.0  # how strongly a code stands in a word, and in an image token


def units(model_config: Any) -> int:
    """Adapter units that carry codes: two for every number of a code, since GELU(x) - GELU(-x) = x."""
    return 2 * sum(_sizes(model_config))


def _sizes(config: Any) -> tuple[int, ...]:
    """Numbers of a class, a colour, a letter, the waves of a box, and a class once more, where a thing's middle is."""
    return config.class_size, config.colour_size, config.letter_size, _waves(config), config.class_size


def _waves(model_config: Any) -> int:
    """Numbers that say where the box of a cell's thing is: its sides, and their sines and cosines."""
    return 4 + 8 * int(model_config.octaves)


@torch.no_grad()
def share(model: Bridge, tokenizer: Any) -> None:
    """Lay the encoder's codes into words and through the last `units` of the adapter."""
    config = model.vision.config
    words = model.decoder.model.embed_tokens.weight
    codes = [getattr(model.vision, f"{name}_codes").weight for name in ("class", "colour", "letter")]  # (size, names)
    sizes = _sizes(config)
    named = sum(sizes[:3])
    generator = torch.Generator().manual_seed(0)
    whole = named + sum(sizes) + 2 * config.letter_size
    axes = torch.linalg.qr(torch.randn(words.shape[1], whole, generator=generator))[0].T.to(words)
    spoken, seen = axes[:named], axes[named : named + sum(sizes)]  # orthonormal: apart, or a word would find itself
    look(model, spoken, seen, sizes)
    row = 0
    for code, names in zip(codes, (names_of(config), colours_of(config), _letters(config)), strict=True):
        for name, number in names:
            token = token_of(tokenizer, name)
            if token is not None:
                words[token] += SPOKEN * code[:, number] @ spoken[row : row + len(code)]
        row += len(code)
    nothing = [codes[0][:, 0], None, codes[2][:, 0], None, None]  # what stands where nothing is
    carry(model, seen, nothing)
    spell(model, tokenizer, spoken=spoken[-config.letter_size :], past=axes[named + sum(sizes) :])
    told = seen_thing(seen, sizes, config.octaves)
    ways = Directions(torch.linalg.svd(told, full_matrices=False)[0].T[:AVOID], *sizes[:3])
    lay_notes(model, NOTED * told, ways, loud=NOTED)
    model.adapter.spell.weight *= NOTED
    names = dict(zip(("class", "colour", "letter"), spoken.split(list(sizes[:3])), strict=True))
    lay_heads(model, tokenizer, spoken=names, ways=ways)


def seen_thing(seen: torch.Tensor, sizes: tuple[int, ...], octaves: int) -> torch.Tensor:
    """(width, class, colour and waves of a box) how the grid's tokens say a thing, for the notes to say it alike."""
    names, colours, _, waves, middles = seen.split(list(sizes))
    told = [names + middles, colours]
    for part in (0, 1):  # sines, cosines
        for side in range(4):
            start = 4 + octaves * (4 * part + side)
            told.append(torch.cat((waves[start : start + octaves], torch.zeros(OCTAVES - octaves, seen.shape[1]))))
    return SEEN * torch.cat(told).T


@torch.no_grad()
def spell(model: Bridge, tokenizer: Any, *, spoken: torch.Tensor, past: torch.Tensor) -> None:
    """Make every letter token its letter as it is written, and let a head go from a letter to what stood after it."""
    reader, size = model.adapter, len(spoken)
    reader.spell.weight[:, :size] = SPOKEN * spoken.T
    reader.spell.weight[:, size : 3 * size] = 2 * past.T
    layer = model.decoder.model.layers[1]
    wide = layer.self_attn.head_dim
    layer.self_attn.v_proj.weight[2 * wide : 2 * wide + size] = spoken
    layer.self_attn.o_proj.weight[:, 2 * wide : 2 * wide + size] = 2 * spoken.T


@torch.no_grad()
def carry(model: Bridge, seen: torch.Tensor, nothing: list[torch.Tensor | None]) -> None:
    """Set the last units of the adapter to add up `columns` of the features and lay the sums along `seen`."""
    first, last = model.adapter.project[0], model.adapter.project[-1]
    config = model.vision.config
    sizes = _sizes(config)
    whole, row = len(seen), 0
    first.weight[-2 * whole :] = 0
    first.bias[-2 * whole :] = 0
    for number, (places, empty) in enumerate(zip(_columns(config), nothing, strict=True)):
        size = sizes[number]
        for sign, start in ((1.0, len(first.bias) - 2 * whole + row), (-1.0, len(first.bias) - whole + row)):
            for place in places:
                for step in range(size):
                    first.weight[start + step, place + step] = sign
            if empty is not None:
                first.bias[start : start + size] = -sign * len(places) * empty
            last.weight[:, start : start + size] = sign * SEEN * seen[row : row + size].T
        row += size


@torch.no_grad()
def look(model: Bridge, spoken: torch.Tensor, seen: torch.Tensor, sizes: tuple[int, ...]) -> None:
    """Let the heads of the first layers look for the class, the colour and the letter that a word stands for.

    The fourth looks for what begins at a location: from the left in the first layer, from the top in the second; in the
    third for the middles of things of a class, each of which stands out once, so that they can be counted. A head
    compares codes in those of its dimensions that the rotary embedding hardly turns, and so finds its thing wherever
    it is.
    """
    config, octaves = model.decoder.config, model.vision.config.octaves
    wide = config.hidden_size // config.num_attention_heads
    slow = [*range(wide // 2 - 12, wide // 2), *range(wide - 12, wide)]
    places = axes_of_places(config.hidden_size)
    sought = [*range(octaves), *range(OCTAVES, OCTAVES + octaves)]
    for depth, layer in enumerate(model.decoder.model.layers[:-1]):
        start = 0
        for head, size in enumerate(sizes[:3]):
            compare(layer, slow, head, KEEN[head], ask=spoken[start : start + size], find=seen[start : start + size])
            start += size
        if depth < 2:
            waves = [4 + octaves * (4 * part + depth) + step for part in (0, 1) for step in range(octaves)]
            compare(layer, slow, 3, KEEN[3], ask=places[sought], find=seen[start:][waves])
        else:
            compare(layer, slow, 3, KEEN[0], ask=spoken[: sizes[0]], find=seen[-sizes[4] :])


@torch.no_grad()
def lay_out(words: torch.Tensor, places: range, norm: float) -> None:
    """Give the location tokens `places` embeddings in which near ones are alike: waves of seven lengths."""
    count = len(places)
    at = (torch.arange(count) + 0.5)[:, None] / count * torch.pi * 2.0 ** torch.arange(OCTAVES)
    laid = torch.cat((at.sin(), at.cos(), torch.linspace(-1, 1, count)[:, None]), 1) @ axes_of_places(words.shape[1])
    words[places.start : places.stop] = norm * laid / laid.norm(dim=1, keepdim=True)


def _columns(config: Any) -> tuple[list[int], ...]:
    """Where those numbers stand among an image token's features, one place per cell or slot."""
    cells = [config.widths[3] + config.cell_size * cell + 1 for cell in range(4)]
    colour = [cell + config.class_size for cell in cells]
    waves = [place + config.colour_size for place in colour]
    letter = [place + _waves(config) + 16 + config.letter_size * slot for place in waves for slot in range(2)]
    middle = [cell - 1 + config.cell_size - config.class_size for cell in cells]
    return cells, colour, letter, waves, middle


def _letters(config: Any) -> list[tuple[str, int]]:
    return [(letter, number) for number, letter in enumerate(config.letters) if letter]
