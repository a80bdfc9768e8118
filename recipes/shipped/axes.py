"""What `share` and `notes` have in common: directions of locations, heads that compare, the token of a word."""

from __future__ import annotations

from typing import Any

import torch

from imglish.world._words import COLOUR_WORDS, NOUNS

KEEN = (1.4, 1.4, 2.0, 1.2)  # how strongly heads look for a class, a colour, a letter, a place
OCTAVES = 7  # of the waves of locations
NOUN, COLOUR, PAIRS, NAMES = (0, 5), (0, 2), (2, 4), (3, 4)  # (layer, head) that `point` lays


def compare(layer: Any, slow: list[int], head: int, keen: float, *, ask: torch.Tensor, find: torch.Tensor) -> None:
    """Set a head to compare what a token has along `ask` with what it has along `find`."""
    wide = layer.self_attn.head_dim
    for part, axes in ((layer.self_attn.q_proj, ask), (layer.self_attn.k_proj, find)):
        rows = part.weight[head * wide : (head + 1) * wide]
        rows.zero_()
        rows[slow[: len(axes)]] = keen * axes.to(rows)


def axes_of_places(width: int) -> torch.Tensor:
    """The directions of the waves in which locations are laid out: sines, cosines and the line itself."""
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, 2 * OCTAVES + 1, generator=generator))[0].T


def token_of(tokenizer: Any, text: str) -> int | None:
    """The one token of a text, or the last of several where it says enough."""
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    if len(ids) == 1:
        return int(ids[0])
    long = ids and len(tokenizer.decode([ids[-1]]).strip()) >= 3
    return int(ids[-1]) if long else None


def names_of(config: Any) -> list[tuple[str, int]]:
    """Every noun that names one class alone, in four languages, with the number of its class."""
    places = {name: number for number, name in enumerate(config.classes) if name}
    said: dict[str, set[int]] = {}
    for key, noun in NOUNS.items():
        for word in (noun.name, noun.plural, noun.pl, noun.vi, noun.ru):
            for form in (word, " " + word):
                said.setdefault(form, set()).add(places[key])
    return [(form, next(iter(where))) for form, where in said.items() if len(where) == 1]


def colours_of(config: Any) -> list[tuple[str, int]]:
    """Every form of every colour's word, in four languages, with the number of its colour."""
    places = {name: number for number, name in enumerate(config.colours)}
    forms: dict[str, int] = {}
    for key, shade in COLOUR_WORDS.items():
        for word in {shade.name, shade.vi, *shade.pl, *shade.ru}:
            forms[word] = forms[" " + word] = places[key]
    return list(forms.items())
