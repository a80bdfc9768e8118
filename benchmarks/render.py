"""How fast the world draws: scenes a second on one core, with all their truth, for every kind."""

from __future__ import annotations

import time

from _table import Report, parser, row

from imglish import world
from imglish.metrics import _interval

CHUNKS = 20
WARM = 60  # scenes before the clock starts: fonts and shapes are prepared once per process
AIMS = {"things": 300.0}  # several hundred a second


def main() -> None:
    """Draw scenes of each kind and time them by this process's own clock, so that a busy machine does not count."""
    options = parser(__doc__ or "")
    options.add_argument("--samples", type=int, default=400, help="scenes per kind (default 400)")
    options.add_argument("--kinds", nargs="*", default=world.kinds(), metavar="KIND")
    given = options.parse_args()
    report = Report(given, {"samples": given.samples})
    for kind in given.kinds:
        if report.has(f"render/{kind}"):
            continue
        for seed in world.seeds("held", 0, min(WARM, given.samples)):
            world.draw(kind, seed)
        size = max(1, given.samples // CHUNKS)
        scenes, seconds = [], []
        for first in range(0, given.samples, size):
            numbers = world.seeds("train", first, min(size, given.samples - first))
            begun = time.process_time()
            for seed in numbers:
                world.draw(kind, seed)
            seconds.append(max(time.process_time() - begun, 1e-9))
            scenes.append(float(len(numbers)))
        value, interval = sum(scenes) / sum(seconds), _interval.of_ratio(scenes, seconds)
        report.add(row(f"render/{kind}", value, interval, aim=AIMS.get(kind), unit="scenes / s / core"))
    report.show()


if __name__ == "__main__":
    main()
