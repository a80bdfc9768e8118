"""What is known about a published checkpoint, without its weights: one `Card` each, in the file of its family.

A family file stays light: what needs torch is imported inside functions, or stands in a private file next to it, so
that the catalogue can import every family to collect its cards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from imglish.core.types import Size

SIZES = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "ffn_matrices", "vocab", "tied", "experts"),
    *("encoder_layers", "beams"),
    *("vision_layers", "vision_hidden", "vision_ffn", "vision_tokens", "vision_kept", "patch_values"),
)

Counted = int | Callable[[Size], int]  # the same for every picture, or a function of its (width, height)


@dataclass(frozen=True)
class Card:
    """The facts of one checkpoint.

    `config` are the sizes that the memory formula needs (`families/_memory.py`), written with `sizes(...)`.
    """

    name: str
    """The checkpoint's id on the hub: owner/name."""
    family: str
    """The family's name; for what cannot be run yet, what it would be called."""
    parameters: int
    """All of them, encoder included."""
    licence: str
    """Of the weights, as the hub spells it: mit, apache-2.0, llama2, gemma, other ..."""
    commercial: bool
    """Whether that licence allows commercial use, if under conditions."""
    languages: tuple[str, ...]
    """ISO 639 codes, of two letters where there is one."""
    context: int
    """The longest prompt with its answer, in tokens, images included."""
    resolution: str
    """What the encoder sees of a picture: `768x768`, `up to 1344x1344`, `any`."""
    skills: frozenset[str]
    """What it was trained for, in the words of the command line; what it does by instruction only is `prompted`."""
    source: str
    """Where these facts are from: a paper, a model card, a config.json, several separated by `; `."""
    year: int
    gated: bool = False
    """Whether the hub asks for an agreement before it can be downloaded."""
    runs: bool = True
    """Whether this version runs it."""
    note: str = ""
    """One sentence more, where one is needed."""
    config: Mapping[str, int] = field(default_factory=lambda: sizes())
    image_tokens: Counted = 0
    """Tokens of one picture in the decoder."""
    views: Counted = 1
    """How many views of a picture (tiles, and the whole) go through the encoder."""
    images: int = 1
    """How many pictures one conversation may have."""
    prompt: str = ""
    """The prompt as the checkpoint was trained on it; `{image}` and `{question}` mark their places."""
    prompted: frozenset[str] = frozenset()
    """Skills asked for by instruction, which it was not trained for; the family's own are added."""
    pitfalls: tuple[str, ...] = ()
    """Short sentences; the family's own come first."""

    def tokens_of(self, size: Size) -> int:
        """Tokens of a picture of that (width, height)."""
        return self.image_tokens(size) if callable(self.image_tokens) else self.image_tokens

    def views_of(self, size: Size) -> int:
        """Views of a picture of that (width, height) that go through the encoder."""
        return self.views(size) if callable(self.views) else self.views


def sizes(**numbers: int) -> Mapping[str, int]:
    """The sizes of a checkpoint's config.json that the memory formula needs.

    Of the decoder: `layers hidden heads ffn vocab`, and where they differ `kv_heads` (otherwise `heads`), `head_dim`
    (`hidden` / `heads`), `ffn_matrices` (3; 2 where the feed-forward layer has no gate), `tied` (1 where input and
    output embeddings are one matrix), `experts` (1), `encoder_layers` of an encoder-decoder, `beams` it searches with.

    Of the encoder: `vision_layers vision_hidden`, `vision_ffn` (4 x `vision_hidden`), `vision_tokens` (patches of one
    view of the picture), `vision_kept` (1; as many as `vision_layers` where all hidden states are kept, as LLaVA
    does), `patch_values` (588: numbers in a patch, 3 x 14 x 14). Where the encoder sees the picture in its own
    resolution, a view is one image token: `vision_tokens` are the patches that merge into it, and `views` of the card
    is its `image_tokens`.
    """
    unknown = sorted(set(numbers) - set(SIZES))
    if unknown:
        raise TypeError(f"no size {', '.join(unknown)}; known are {', '.join(SIZES)}")
    return MappingProxyType(numbers)
