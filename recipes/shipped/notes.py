"""How the decoder begins to use notes: every note laid out along directions of its own, and heads that compare them.

`share` lays the codes of the encoder into words; here the things, letters and outlines that `Reader` notes get theirs,
and two further heads of each layer begin with what lists need: to hold what was just written (layer 0), to go from
point to point (layer 1), from a box, or from a name and a colour, to the next ones of a list (layer 2), from a name to
the next one and to how many there are (layer 3). Only a beginning: everything is trained on.
"""

from __future__ import annotations

from typing import Any

import torch
from axes import OCTAVES, axes_of_places, compare, names_of, token_of

from imglish.nn import Bridge
from imglish.nn._notes import NUMBERS, WAVE

HEADS = 6  # of a layer; the last two are of this file
WAVES = range(2, 6)  # of the waves that heads compare: those in which points some bins apart differ
MARK, NEAR = 4.0, 2.4  # how much every word carries of one direction; how sharply heads look just behind
KEEN_NOTES = (4.5, 3.0, 5.0, 4.0)  # how strongly heads look for a place, letters, the next of a list, a name
NOUN, NEARLY, RECENTLY = 2.0, 1.7, range(4, 10)  # how keenly the last noun is looked for; waves that say how near
LOUDLY, RECENT, COPY, REST = 1.2, 2.0, 3.0, 4.0  # how much of it heads hand on; how they rest where nothing is


class Directions:
    """Directions in the residual stream for what notes say, and for what heads hold of words.

    Those of notes are orthonormal, also to the directions (n, width) in which notes say what the grid says.
    """

    def __init__(self, seen: torch.Tensor, class_size: int, colour_size: int, letter_size: int) -> None:
        code = class_size + colour_size
        noted = {
            "name": class_size, "pair_before": code, "name_before": class_size, "thing_before": 4 * len(WAVES),
            "corner": 4 * len(WAVES), "own": 2 * WAVE, "numbers": 4 * NUMBERS,
        }  # fmt: skip
        held = {"word": 1, "prior_place": 2 * len(WAVES), "prior_letter": letter_size, "recent": code}
        generator = torch.Generator().manual_seed(2)
        self.rows: dict[str, torch.Tensor] = {}
        for sizes, apart in ((noted, seen), (held, seen[:0]), ({"noun": 1}, seen[:0])):
            drawn = torch.randn(seen.shape[1], sum(sizes.values()), generator=generator)
            basis = torch.linalg.qr(torch.cat((apart.T, drawn), 1))[0].T[len(apart) :]
            self.rows |= dict(zip(sizes, basis.split(list(sizes.values())), strict=True))

    def __getattr__(self, name: str) -> torch.Tensor:
        return self.rows[name]


def coordinate(which: int, count: int, *, octaves: range = WAVES, start: int = 0) -> list[int]:
    """Where the waves of one of `count` coordinates stand in `imglish.nn._notes.waves`: sines, then cosines."""
    sines = [start + which * OCTAVES + step for step in octaves]
    return sines + [place + count * OCTAVES for place in sines]


@torch.no_grad()
def lay_notes(model: Bridge, tell_seen: torch.Tensor, ways: Directions, *, loud: float = 1.0) -> None:
    """What notes say, along their directions; `tell_seen` (width, codes and box) says a thing as the grid would.

    `loud` is how much louder than codes and waves as they are.
    """
    config, reader = model.vision.config, model.adapter
    code = config.class_size + config.colour_size
    box = 4 * WAVE
    tell, trace = reader.tell.weight, reader.trace.weight
    tell.zero_()
    trace.zero_()
    tell[:, : code + box] = tell_seen
    top = code + box
    tell[:, top : top + 2 * WAVE] = loud * ways.own.T
    before = top + 2 * WAVE
    corner = [place for which in (2, 3) for place in coordinate(which, 4, start=before + code)]
    tell[:, : config.class_size] += loud * ways.name.T
    tell[:, corner] = loud * (ways.thing_before + ways.corner).T
    pair = before + code + box
    tell[:, pair : pair + code] = loud * ways.pair_before.T
    name = pair + code + 1
    tell[:, name : name + config.class_size] = loud * ways.name_before.T
    numbers = name + config.class_size + 1 + box + 1
    tell[:, numbers : numbers + 4 * NUMBERS] = loud * ways.numbers.T
    trace[:, : 2 * WAVE] = loud * ways.own.T
    trace[:, [place for which in (0, 1) for place in coordinate(which, 2, start=2 * WAVE)]] = loud * ways.corner.T
    spell = reader.spell.weight
    above = spell.shape[1] - 2 * WAVE
    spell[:, [place for which in (0, 1) for place in coordinate(which, 2, start=above)]] = loud * ways.corner.T
    reader.tell.bias.zero_()
    reader.trace.bias.zero_()


@torch.no_grad()
def lay_heads(model: Bridge, tokenizer: Any, *, spoken: dict[str, torch.Tensor], ways: Directions) -> None:
    """The two further heads of each layer, and the letters' head; `spoken` are the directions of codes in words."""
    words, layers = model.decoder.model.embed_tokens.weight, model.decoder.model.layers
    way = ways.word[0]
    words += (MARK - words @ way)[:, None] * way  # all alike, or heads that look behind see the loud ones
    nouns = torch.zeros(len(words))
    tokens = [token_of(tokenizer, name) for name, _ in names_of(model.vision.config)]
    nouns[[token for token in tokens if token is not None]] = MARK
    words += (nouns - words @ ways.noun[0])[:, None] * ways.noun
    wide, width = layers[0].self_attn.head_dim, words.shape[1]
    for layer in layers:
        attention = layer.self_attn
        for part in (attention.q_proj, attention.k_proj, attention.v_proj):
            part.weight[(HEADS - 2) * wide :].normal_(std=width**-0.5)
        attention.o_proj.weight[:, (HEADS - 2) * wide :] = 0
    slow = [*range(wide // 2 - 12, wide // 2), *range(wide - 12, wide)]
    _hold(model, spoken, ways)
    _step(model, slow, spoken, ways)
    _list(model, slow, spoken, ways)
    _count(model, tokenizer, slow, ways)


def _hold(model: Bridge, spoken: dict[str, torch.Tensor], ways: Directions) -> None:
    """Layer 0: the location and the letter just before, and the last name that was said."""
    layer, size = model.decoder.model.layers[0], model.vision.config.class_size
    behind(layer, 4, ways.word[0], model.decoder, sharp=NEAR, frequencies=range(5), back=1)
    hand_on(layer, 4, [(_places(model, WAVES), ways.prior_place), (spoken["letter"], ways.prior_letter)])
    latest(layer, 5, ways, [*range(model.decoder.config.head_dim // 2)][-4:])
    hand_on(layer, 5, [(spoken["class"], ways.recent[:size])], loud=RECENT)


def _step(model: Bridge, slow: list[int], spoken: dict[str, torch.Tensor], ways: Directions) -> None:
    """Layer 1: from a point to the next one's x, from there to its y; from two letters to the next one."""
    layer, reader, config = model.decoder.model.layers[1], model.adapter, model.vision.config
    trace = reader.trace.weight
    own = [_reading(trace[:, coordinate(which, 2, octaves=range(OCTAVES))]) for which in (0, 1)]
    x_own = _reading(trace[:, coordinate(0, 2)])
    x_past, y_past = (_reading(trace[:, coordinate(which, 2, start=2 * WAVE)]) for which in (0, 1))
    written = torch.cat((_places(model, WAVES), ways.prior_place))  # the last location and the one before it
    for number, (head, find) in enumerate(((4, (y_past, x_past)), (5, (x_own, y_past)))):
        compare(layer, slow, head, KEEN_NOTES[0], ask=written, find=torch.cat(find))
        hand_on(layer, head, [(own[number], _places(model, range(OCTAVES)))], loud=COPY)
        rest(layer, head, slow[-1], ways.word[0], REST)
    hand_on(layer, 4, [(ways.name, spoken["class"])], loud=COPY, start=2 * OCTAVES)  # behind a box stands a name, too
    size = config.letter_size
    main = principal(model.vision.letter_codes.weight, len(slow) // 2)
    past, earlier = (_reading(reader.spell.weight[:, place : place + size]) for place in (size, 2 * size))
    ask = torch.cat((main @ spoken["letter"], main @ ways.prior_letter))
    compare(layer, slow, 2, KEEN_NOTES[1], ask=ask, find=torch.cat((main @ past, main @ earlier)))


def _list(model: Bridge, slow: list[int], spoken: dict[str, torch.Tensor], ways: Directions) -> None:
    """Layers 2 and 3: from a name and a colour, from a box, from a name, to what a list says next."""
    _, _, layer, last = model.decoder.model.layers
    config, tell = model.vision.config, model.adapter.tell.weight
    size, code = config.class_size, config.class_size + config.colour_size
    shade = _reading(tell[:, size:code])
    pair = code + 4 * WAVE + 2 * WAVE + code + 4 * WAVE
    names = ways.recent[:size]
    compare(layer, slow, 4, KEEN_NOTES[2], ask=names, find=_reading(tell[:, pair : pair + size]))
    hand_on(layer, 4, [(ways.name, spoken["class"]), (shade, spoken["colour"])])
    before = code + 4 * WAVE + 2 * WAVE + code
    x_past, y_past = (_reading(tell[:, coordinate(which, 4, start=before)]) for which in (2, 3))
    written = torch.cat((_places(model, WAVES), ways.prior_place))
    compare(layer, slow, 5, KEEN_NOTES[0], ask=written, find=torch.cat((y_past, x_past)))
    hand_on(layer, 5, [(ways.name, spoken["class"])])
    rest(layer, 5, slow[-1], ways.word[0], REST)
    name = pair + code + 1
    compare(last, slow, 4, KEEN_NOTES[2], ask=names, find=_reading(tell[:, name : name + size]))
    hand_on(last, 4, [(ways.name, spoken["class"])])


def _count(model: Bridge, tokenizer: Any, slow: list[int], ways: Directions) -> None:
    """Layer 3: from the name that is asked for, as the third layer looks for its middles, to how many there are."""
    words, attention = model.decoder.model.embed_tokens.weight, model.decoder.model.layers[3].self_attn
    wide = attention.head_dim
    asks = model.decoder.model.layers[2].self_attn.q_proj.weight[3 * wide : 4 * wide]
    attention.q_proj.weight[5 * wide : 6 * wide] = asks
    attention.k_proj.weight[5 * wide : 6 * wide] = 0
    attention.k_proj.weight[[5 * wide + place for place in slow]] = KEEN_NOTES[3] * ways.name
    for number in range(NUMBERS):
        token = token_of(tokenizer, str(number + 1))
        if token is not None:
            attention.v_proj.weight[5 * wide + number] = ways.numbers[number]
            attention.o_proj.weight[:, 5 * wide + number] = LOUDLY * torch.nn.functional.normalize(words[token], dim=0)


def _places(model: Bridge, octaves: range) -> torch.Tensor:
    """The directions of the waves of locations in words."""
    return axes_of_places(model.decoder.config.hidden_size)[coordinate(0, 1, octaves=octaves)]


@torch.no_grad()
def behind(
    layer: Any, head: int, way: torch.Tensor, decoder: Any, *, sharp: float, frequencies: range, back: int
) -> None:
    """Let a head look at the words just behind: those `back` places behind most of all."""
    wide = layer.self_attn.head_dim
    theta = float(decoder.config.rope_parameters["rope_theta"])
    for part, turn in ((layer.self_attn.q_proj, 0), (layer.self_attn.k_proj, back)):
        rows = part.weight[head * wide : (head + 1) * wide]
        rows.zero_()
        for step in frequencies:
            angle = torch.tensor(turn * theta ** (-2 * step / wide))
            rows[step], rows[step + wide // 2] = sharp * angle.cos() * way, sharp * angle.sin() * way


@torch.no_grad()
def latest(layer: Any, head: int, ways: Directions, slow: list[int]) -> None:
    """Let a head look at the last noun, however many words ago: first for nouns, among these for near ones."""
    wide = layer.self_attn.head_dim
    for part, way in ((layer.self_attn.q_proj, ways.word[0]), (layer.self_attn.k_proj, ways.noun[0])):
        rows = part.weight[head * wide : (head + 1) * wide]
        rows.zero_()
        rows[slow] = NOUN * way
        for step in RECENTLY:
            rows[step] = rows[step + wide // 2] = 0
            rows[step] = NEARLY * ways.word[0]


@torch.no_grad()
def rest(layer: Any, head: int, dimension: int, way: torch.Tensor, strong: float) -> None:
    """Let a head look at words, which hand on nothing, where no note is nearly what it looks for."""
    for part in (layer.self_attn.q_proj, layer.self_attn.k_proj):
        part.weight[head * layer.self_attn.head_dim + dimension] = strong * way


@torch.no_grad()
def hand_on(
    layer: Any, head: int, pairs: list[tuple[torch.Tensor, torch.Tensor]], *, loud: float = LOUDLY, start: int = 0
) -> None:
    """Let a head take what a token has along the first directions of each pair and add it along the second ones."""
    wide, attention = layer.self_attn.head_dim, layer.self_attn
    row = head * wide + start
    for source, goal in pairs:
        attention.v_proj.weight[row : row + len(source)] = source
        attention.o_proj.weight[:, row : row + len(goal)] = loud * goal.T
        row += len(source)


def principal(codes: torch.Tensor, count: int) -> torch.Tensor:
    """(count, size) the directions in which the codes (size, names) differ most."""
    table = codes.detach().float()
    return torch.linalg.svd(table - table.mean(1, keepdim=True))[0][:, :count].T


def _reading(columns: torch.Tensor) -> torch.Tensor:
    """(size, width) what reads off a vector how much of each column (width, size) it has."""
    return torch.nn.functional.normalize(torch.linalg.pinv(columns.detach().float()), dim=1)
