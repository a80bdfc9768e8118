"""Stage 0: a byte-level tokenizer made from the world's own questions and answers. It encodes any text."""

from __future__ import annotations

from collections.abc import Iterator

from loop import Plan
from scenes import SPEAK, known, questions, seeds
from targets import PLAIN, PRECOMPOSED

from imglish.families._imglish_model import train_tokenizer, wrap_tokenizer

SIZE, SCENES = 2560, 5000


def corpus(mixture: list[tuple[str, str, float]]) -> Iterator[str]:
    """Questions and answers of training scenes in all languages, and every letter often enough to be a token."""
    for seed in seeds("words", 0, SCENES):
        for sample in questions(seed, mixture)[1]:
            if sample.skill not in ("read", "extract") and sample.topic != "read_line":
                yield from (sample.question, sample.answer, *sample.labels)
    letters = PLAIN + PRECOMPOSED + PRECOMPOSED.upper()
    for _ in range(200):
        yield from letters


def run(plan: Plan) -> None:
    """Write the tokenizer to `tokenizer/` unless it is there."""
    folder = plan.out / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        tokenizer = wrap_tokenizer(train_tokenizer(corpus(known(SPEAK)), size=SIZE))
        tokenizer.save_pretrained(folder)
        print(f"words: {len(tokenizer)} tokens in {folder}", flush=True)
