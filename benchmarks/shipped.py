"""What the shipped model knows: every skill on held-out scenes, with intervals, next to the same questions asked blind.

Groups: `ordinary`, `crowded` and `repeats` (scenes with many things, with like things), `wordings` (questions worded in
ways that training never used, on ordinary scenes), `languages/pl`, `/vi`, `/ru`, `unknown` (`honest`: questions from
outside the world, in held-out wordings, answered with "I don't know"; `refused`: questions that a picture does answer,
answered so all the same) and `familiar` (pictures of the world without a warning, views of photographs with one).
`against` is the blind baseline: the same questions, every picture blanked to mid grey.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from _rows import Case, Job, Scenes, jobs
from _table import Report, parser, row, say
from PIL import Image

import imglish
from imglish import world
from imglish.core.results import OUT_OF_WORLD, Result
from imglish.core.types import Request, Sample
from imglish.engine.load import pick_device
from imglish.engine.precision import natural_dtype
from imglish.engine.vlm import VLM
from imglish.families._base import encode_pieces
from imglish.metrics import _interval

GREY = (128, 128, 128)
FAMILIAR = ("familiar/world", "familiar/photographs")
VIEWS = 100  # of the photographs
KEPT = 4 << 30  # bytes of features that are remembered at most


class Remembering(torch.nn.Module):
    """A vision encoder that encodes no picture twice: a scene is asked about by many rows, and grey is always grey."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.known: dict[bytes, torch.Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("encoder"), name)  # its dtype, its configuration

    def forward(self, pixel_values: torch.Tensor, **options: Any) -> Any:
        """As the encoder's; what else than the last layer is wanted is not remembered."""
        if options.get("output_hidden_states"):
            return self.encoder(pixel_values=pixel_values, **options)
        keys = [hash_of(picture) for picture in pixel_values]
        new = list({key: index for index, key in enumerate(keys) if key not in self.known}.values())
        if new:
            output = self.encoder(pixel_values=pixel_values[new], **options)
            self.kind, found = type(output), output.last_hidden_state
            if len(self.known) * found[0].nbytes + found.nbytes > KEPT:
                self.known = {key: self.known[key] for key in keys if key in self.known}
            self.known.update(zip((keys[index] for index in new), found, strict=True))
        return self.kind(last_hidden_state=torch.stack([self.known[key] for key in keys]))


def hash_of(picture: torch.Tensor) -> bytes:
    """The bytes of a picture's pixels, every one of them, as a short key."""
    return hashlib.blake2b(picture.contiguous().cpu().view(torch.uint8).numpy().tobytes(), digest_size=16).digest()


def blind(sample: Sample) -> Request:
    """The same question about grey pictures of the same sizes."""
    greys = {size: Image.new("RGB", size, GREY) for size in {image.size for image in sample.images}}
    return dataclasses.replace(sample, images=tuple(greys[image.size] for image in sample.images)).request()


def asked_blind(vlm: VLM, samples: Sequence[Sample], limits: dict[str, Any]) -> list[Result]:
    """The answers without pictures; the same question about the same grey is asked once."""
    keys = [
        repr((s.skill, s.question, s.labels, s.region, s.schema, s.detail, s.language, [i.size for i in s.images]))
        for s in samples
    ]
    different = dict(zip(keys, samples, strict=True))
    answers = dict(zip(different, vlm.run([blind(sample) for sample in different.values()], **limits), strict=True))
    return [answers[key] for key in keys]


def longest(vlm: VLM, cases: Sequence[Case]) -> int:
    """How many tokens an answer may have: twice the longest true one. The same for the model and the blind one."""
    family, tokenizer = vlm.loaded.family, vlm.loaded.tokenizer
    lengths = [
        len(encode_pieces(tokenizer, family.answer(case.sample), image_token=family.image_token)) for case in cases
    ]
    return 2 * max(lengths) + 8


def unread(results: Sequence[Result]) -> int:
    """Answers that could not be read, or were cut short."""
    return sum(not result.parsed or bool(result.receipt and result.receipt.truncated) for result in results)


def measure(vlm: VLM, job: Job, cases: Sequence[Case], options: Any) -> tuple[dict[str, Any], int]:
    """A row of the table, and how many answers failed."""
    limits = {"max_tokens": longest(vlm, cases), "batch": options.batch, "temperature": 0.0}
    results = vlm.run([case.sample.request() for case in cases], **limits)
    value, interval = job.row.measure(cases, results)
    against = None
    if not options.no_blind:
        against = job.row.measure(cases, asked_blind(vlm, [case.sample for case in cases], limits))[0]
    aim = job.row.aim if job.group == "ordinary" else None
    return row(job.name, value, interval, against=against, aim=aim, unit=job.row.unit), unread(results)


def photographs() -> list[Path]:
    """Photographs that installed packages carry; none of the packages is imported."""
    places = {"matplotlib": "mpl-data/sample_data/*.jpg", "sklearn": "datasets/images/*.jpg", "skimage": "data/*.jpg"}
    found = []
    for package, pattern in places.items():
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            found += sorted(Path(folder).glob(pattern))
    return found


def views(count: int) -> Iterator[Image.Image]:
    """Cuts of the photographs, from a third of a side to all of it."""
    chooser, paths = random.Random("views"), photographs()
    for number in range(count if paths else 0):
        with Image.open(paths[number % len(paths)]) as opened:
            photo = opened.convert("RGB")
        share = 1.0 if number < len(paths) else chooser.uniform(0.35, 1.0)
        side = int(min(photo.size) * share)
        x, y = chooser.randint(0, photo.width - side), chooser.randint(0, photo.height - side)
        yield photo.crop((x, y, x + side, y + side)).resize((256, 256))


def warned(vlm: VLM, pictures: Sequence[Image.Image], options: Any) -> list[bool]:
    """Whether the answer to each picture carries the warning that it is unlike the world."""
    asked = [Sample("", "caption", (picture,), "", "", None).request() for picture in pictures]
    results = vlm.run(asked, max_tokens=1, batch=options.batch)
    return [any(problem.kind == OUT_OF_WORLD for problem in result.problems) for result in results]


def familiar(vlm: VLM, options: Any) -> Iterator[dict[str, Any]]:
    """The two rows of the group `familiar`."""
    kinds, count = world.kinds(), max(options.samples, len(world.kinds()))
    drawn = [world.draw(kinds[number % len(kinds)], seed) for number, seed in enumerate(world.seeds("held", 0, count))]
    flags = warned(vlm, [scene.images[scene.seed % len(scene.images)] for scene in drawn], options)
    calm = len(flags) - sum(flags)
    yield row(FAMILIAR[0], calm / count, _interval.wilson(calm, count), unit="share without warning")
    pictures = list(views(min(VIEWS, options.samples)))
    value = sum(warned(vlm, pictures, options)) / len(pictures) if pictures else None
    # no interval: views of so few photographs are no sample of all photographs
    yield row(FAMILIAR[1], value, unit=f"share of views of {len(photographs())} photograph(s) with warning")


def main() -> None:
    """Measure the rows that are wanted, source by source, and print them in their order."""
    options = parser(__doc__ or "")
    options.add_argument("--model", help="a checkpoint folder; the shipped model if left out")
    options.add_argument("--device", default="auto")
    options.add_argument("--dtype", default="auto", help="auto: bfloat16 where the processor has it, as for everybody")
    options.add_argument("--samples", type=int, default=500, help="held-out samples per row (default 500)")
    options.add_argument("--groups", nargs="*", metavar="GROUP", help="ordinary crowded languages/pl ..., or languages")
    options.add_argument("--rows", nargs="*", metavar="ROW", help="colour count2 ..., or whole names")
    options.add_argument("--batch", type=int, default=64)
    options.add_argument("--no-blind", action="store_true", help="leave the blind baseline out")
    options.add_argument("--threads", type=int, help="threads of torch (default: all cores)")
    given = options.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    dtype = natural_dtype(pick_device(given.device)) if given.dtype == "auto" else given.dtype
    settings = {"model": given.model or "shipped", "samples": given.samples, "dtype": dtype}
    report = Report(given, {**settings, "blind": not given.no_blind})
    wanted = [job for job in jobs() if chosen(job.name, given)]
    extra = [name for name in FAMILIAR if chosen(name, given)]
    if not wanted and not extra:
        raise SystemExit(f"no rows of that name; there are: {' '.join([*(job.name for job in jobs()), *FAMILIAR])}")
    vlm = imglish.load(given.model, device=given.device, dtype=dtype)
    memory = vlm.loaded.model.vision = Remembering(vlm.loaded.model.vision)
    scenes = Scenes()
    for job in sorted(wanted, key=lambda job: job.source):
        if report.has(job.name):
            continue
        begun = time.monotonic()
        if job.source != scenes.source:
            memory.known.clear()
        cases = scenes.cases(job, given.samples)
        if len(cases) < given.samples:
            say(f"{job.name}: only {len(cases)} samples")
        if not cases:
            report.add(row(job.name, None, unit=job.row.unit), failures=0)
            continue
        one, failures = measure(vlm, job, cases, given)
        report.add(one, failures=failures)
        say(f"    {failures} of {len(cases)} unread, {time.monotonic() - begun:.1f} s")
    if any(not report.has(name) for name in extra):
        for one in familiar(vlm, given):
            if one["name"] in extra and not report.has(one["name"]):
                report.add(one)
    report.order([*(job.name for job in jobs()), *FAMILIAR])
    report.show()


def chosen(name: str, options: Any) -> bool:
    """Whether a row was asked for."""
    group, _, last = name.rpartition("/")
    in_group = not options.groups or any(group == one or group.startswith(f"{one}/") for one in options.groups)
    return in_group and (not options.rows or last in options.rows or name in options.rows)


if __name__ == "__main__":
    main()
