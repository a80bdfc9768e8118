"""Every skill of the shipped model on pictures drawn now, as one HTML page: `make demo` runs this."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _demo_cases import Case

    from imglish import VLM


def main(arguments: list[str] | None = None) -> int:
    """Ask, write the page, and print where it is. The exit status is that of the command line."""
    given = _options(arguments)
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.1f} s] {text}", file=sys.stderr, flush=True)

    say("loading the model")
    import imglish
    from imglish.core.errors import ImglishError

    try:
        for path in filter(None, (given.out, given.picture)):
            path.parent.mkdir(parents=True, exist_ok=True)  # a place that cannot be is told before the work
        vlm = imglish.load(given.model)
        cases = run(vlm, seed=given.seed, count=given.count, say=say)
        from _demo_page import page, poster

        text = page(cases, about=about(vlm, given.seed, time.monotonic() - begun))
        given.out.write_text(text, encoding="utf-8")
        if given.picture:
            poster(cases).save(given.picture)
    except ImglishError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"error: cannot write: {error}", file=sys.stderr)
        return 2
    say(f"wrote {len(text) / 1e6:.1f} MB; open this in a browser:")
    print(given.out.resolve())
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo.html"), help="the page (default out/demo.html)")
    parser.add_argument("--model", help="a checkpoint folder; the shipped model if left out")
    parser.add_argument("--seed", type=int, default=0, help="which held-out scenes: each number gives others")
    parser.add_argument("--count", type=int, default=2, help="scenes for each kind of question (default 2)")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="also write some answers as one picture")
    given = parser.parse_args(arguments)
    if given.seed < 0 or given.count < 1:
        parser.error("--seed is 0 or more, --count 1 or more")
    if given.picture and given.picture.suffix != ".png":
        parser.error(f"--picture {given.picture}: a name that ends in .png")
    return given


def run(vlm: VLM, *, seed: int, count: int, say: Callable[[str], None]) -> list[Case]:
    """All cases, in the order in which they were asked; `say` is told about every skill that is done."""
    import _demo_cases as cases

    done: list[Case] = []

    def report(skill: str) -> None:
        own = [case for case in done if case.skill == skill]
        say(f"{skill}: {sum(case.right for case in own)} of {len(own)} right")

    for wish, sample in cases.questions(seed, count):
        if done and done[-1].skill != wish.skill:
            report(done[-1].skill)
        done.append(cases.ask(vlm, sample))
    report(done[-1].skill)
    for scene, turns in cases.talks(seed, count):
        done += cases.talk(vlm, scene, turns)
    report("chat")
    photograph = cases.photograph(vlm)
    if photograph is not None:
        done.append(photograph)
        say(f"photograph: {'warns' if photograph.right else 'does not warn'}")
    return done


def about(vlm: VLM, seed: int, seconds: float) -> str:
    """The model, the machine, the time, in one line."""
    import torch

    import imglish

    size = sum(parameter.numel() for parameter in vlm.loaded.model.parameters()) / 1e6
    where = "GPU" if vlm.loaded.model.device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return (
        f"imglish {imglish.__version__}, {vlm.loaded.checkpoint} model with {size:.1f} million parameters, "
        f"seed {seed}, {seconds:.0f} s on {where} of {platform.machine()} {platform.system()}."
    )


if __name__ == "__main__":
    sys.exit(main())
