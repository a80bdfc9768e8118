"""How `imglish models` shows the catalogue: a table of checkpoints, and the card of one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from imglish._cli_print import document, line, note
from imglish.core.errors import InputError
from imglish.engine import card as cards
from imglish.engine import catalogue
from imglish.engine.load import FAMILIES, SHIPPED
from imglish.families._card import Card
from imglish.families._memory import Precision, memory

SHOWN: tuple[Precision, ...] = ("bf16", "int8", "int4")
WIDE = 240  # columns where there is no terminal: a pipe gets everything
GROUPS = (  # heading, skills of which one is enough
    ("boxes", ("detect", "ground")),
    ("masks", ("segment",)),
    ("OCR", ("read",)),
    ("chat", ("chat",)),
    ("video", ("watch",)),
)
YES, TOLD = "●", "○"  # trained for it; does it when told to
LEGEND = f"{YES} trained for it   {TOLD} by instruction   GB for one picture of 1920x1080"
# what is left out where the terminal is narrow, first to last
SPARE = (
    "languages",
    "context",
    "family",
    "picture",
    "int8",
    "licence",
    "video",
    "images",
    "masks",
    "commercial",
    "runs",
    "owner",
)


def listing(chosen: Sequence[Card], *, as_json: bool) -> None:
    """All that was chosen: a table, or one JSON document."""
    if as_json:
        document({"families": FAMILIES.names(), "models": [cards.to_json(card) for card in chosen]})
        return
    console = _console()
    left: set[str] = set()
    table = _table(chosen, left)
    for name in SPARE:
        if Console(width=10 * WIDE).measure(table).maximum <= console.width:
            break
        left.add(name)
        table = _table(chosen, left)
    _print(table)
    note(LEGEND)
    note(
        "imglish models NAME tells more" + (f"; left out for want of width: {', '.join(sorted(left))}" if left else "")
    )


def show(name: str, wishes: Wishes, *, as_json: bool) -> None:
    """The card of one checkpoint; a family has a table of its checkpoints before the card of the first."""
    if wishes != Wishes():
        raise InputError(
            f"{name!r} names a model, and the other options choose among all",
            hint=f"imglish models {name}, or the options without a name",
        )
    found = catalogue.find(name)
    if as_json:
        shown = [_everything(card) for card in found]
        document(shown[0] if len(shown) == 1 else {"models": shown})
        return
    if len(found) > 1:
        listing(found, as_json=False)
    _print(_card(found[0]))


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def _print(what: RenderableType) -> None:
    """To stdout, without the blanks that fill up a line."""
    console = _console()
    with console.capture() as written:
        console.print(what, soft_wrap=not sys.stdout.isatty())
    line("\n".join(one.rstrip() for one in written.get().splitlines()))


def _everything(card: Card) -> dict[str, object]:
    more = {"template": cards.template(card), "commands": cards.commands(card), "prompts": cards.prompts(card)}
    return {**cards.to_json(card), **more}


def _table(chosen: Sequence[Card], without: set[str]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    columns: dict[str, tuple[JustifyMethod, Callable[[Card], str]]] = {
        "model": ("left", lambda card: escape(catalogue.short(card) if "owner" in without else card.name)),
        "family": ("left", lambda card: card.family),
        "runs": ("left", lambda card: "yes" if card.runs else "no"),
        "params": ("right", lambda card: number(card.parameters)),
        "picture": ("left", lambda card: escape(card.resolution.split(",")[0])),
        **{heading: ("center", _mark(any_of)) for heading, any_of in GROUPS},
        "images": ("center", lambda card: YES if card.images > 1 else ""),
        "languages": ("left", lambda card: _few(card.languages)),
        "context": ("right", lambda card: context(card)),
        "licence": ("left", lambda card: escape(card.licence)),
        "commercial": ("left", lambda card: "yes" if card.commercial else "no"),
        **{precision: ("right", _gigabytes(precision)) for precision in SHOWN},
    }
    kept = {name: column for name, column in columns.items() if name not in without}
    for name, (side, _) in kept.items():
        table.add_column(name, justify=side, no_wrap=True)
    for card in chosen:
        table.add_row(*(cell(card) for _, cell in kept.values()), style="" if card.runs else "dim")
    return table


def _mark(any_of: Sequence[str]) -> Callable[[Card], str]:
    return lambda card: YES if card.skills & set(any_of) else TOLD if card.prompted & set(any_of) else ""


def _gigabytes(precision: Precision) -> Callable[[Card], str]:
    return lambda card: gigabytes(memory(card, precision).total)


def _card(card: Card) -> Group:
    rights = "commercial use allowed" if card.commercial else "no commercial use"
    pictures = {0: "none", 1: "one a conversation"}.get(card.images, f"up to {card.images} a conversation")
    facts = {
        "family": card.family + ("" if card.runs else "  (this version does not run it)"),
        "parameters": number(card.parameters),
        "sees": f"{card.resolution}; {pictures}",
        "languages": ", ".join(card.languages),
        "context": f"{card.context:,} tokens",
        "licence": f"{card.licence}; {rights}" + ("; gated: the hub asks you to agree first" if card.gated else ""),
        "image tokens": ", ".join(f"{card.tokens_of(size):,} for {size[0]}x{size[1]}" for size in cards.SIZES),
        "memory": ", ".join(f"{gigabytes(memory(card, kind).total)} GB in {kind}" for kind in SHOWN)
        + " for one picture of 1920x1080",
        "source": card.source,
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="dim"), Text(value))
    parts: list[RenderableType] = [Text(f"{card.name} ({card.year})", style="bold"), Padding(grid, (0, 0, 0, 2))]
    if card.note:
        parts.append(Padding(Text(card.note), (0, 0, 0, 2)))
    parts += _skills(card)
    if card.pitfalls:
        parts += [Text("\npitfalls", style="bold"), *(Padding(Text(f"- {one}"), (0, 0, 0, 2)) for one in card.pitfalls)]
    return Group(*parts)


def _skills(card: Card) -> list[RenderableType]:
    """The prompt, and a command for each skill with what it puts into the place of the question."""
    parts: list[RenderableType] = []
    form = cards.template(card)
    if form:
        parts += [Text("\nprompt", style="bold"), Text(f"  {form!r}")]
    parts.append(Text("\nskills", style="bold"))
    if not card.runs:
        parts.append(Text("  " + (", ".join(sorted(card.skills)) or "none that has to do with pictures")))
        return parts
    prompts = cards.prompts(card)
    for skill, command in cards.commands(card).items():
        told = "   # by instruction" if skill in card.prompted else ""
        parts.append(Text(f"  {command}{told}"))
        parts.append(Text(f"      {cards.words(prompts[skill], form) or prompts[skill]!r}", style="dim"))
    if card.name != SHIPPED:
        parts += [Text("\nin Python", style="bold"), Text(f'  vlm = imglish.load("{card.name}")')]
    return parts


def number(count: int) -> str:
    """`9.82M`, `7.06B`."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)


def context(card: Card) -> str:
    """`2K`, `128K`: as models are called, whether their K is 1024 or 1000."""
    return f"{card.context / (1024 if card.context % 1000 else 1000):.3g}K"


def gigabytes(count: int) -> str:
    """`0.03`, `4.91`, `15.2`, `70.3`."""
    amount = count / 10**9
    return f"{amount:.2f}" if amount < 10 else f"{amount:.1f}"


def _few(languages: Sequence[str]) -> str:
    return " ".join(languages) if len(languages) <= 4 else f"{len(languages)} languages"


@dataclass(frozen=True)
class Wishes:
    """The options of the command, as they were written."""

    fits: str | None = None
    precision: str = "bf16"
    can: str | None = None
    prompted: bool = False
    licence: str | None = None
    commercial: bool = False
    language: str | None = None
    runs: bool = False
    sort: str | None = None

    def chosen(self) -> list[Card]:
        """What they ask for, in their order; says how many more would fit with smaller weights."""
        precision = catalogue.parse_precision(self.precision)
        most = None if self.fits is None else catalogue.parse_bytes(self.fits)
        right = self._right(catalogue.cards())
        chosen = catalogue.choose(right, fits=most, precision=precision)
        more = len(catalogue.choose(right, fits=most, precision="int4")) - len(chosen)
        if more and precision != "int4":
            note(f"{more} more fit into {self.fits} with their weights in 4 bits: --precision int4")
        if not chosen:
            note("no model is like that; leave a wish out")
        return catalogue.arrange(chosen, self.sort, precision=precision) if self.sort else chosen

    def _right(self, every: Sequence[Card]) -> list[Card]:
        """Those that are right, whatever they need."""
        return catalogue.choose(
            every,
            can=_list(self.can),
            prompted=self.prompted,
            licences=_list(self.licence),
            commercial=self.commercial,
            languages=_list(self.language),
            runs=self.runs,
        )


def _list(text: str | None) -> list[str]:
    return [] if text is None else [word for word in text.split(",") if word.strip()] or [text]
