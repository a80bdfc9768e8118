"""Many questions at once, decoded in batches, and scored."""

from imglish import load, world
from imglish.metrics import exact

samples = []
for seed in world.seeds("held", start=500, count=24):  # scenes that training never sees
    scene = world.draw("things", seed)
    samples += [one for one in world.samples(scene, wording="held") if one.topic == "colour"][:1]

vlm = load()
results = vlm.run([sample.request() for sample in samples], batch=16)
hits = [exact.score(str(result), sample.answer) for result, sample in zip(results, samples, strict=True)]
print(f"colour questions: {sum(hits):.0f} of {len(hits)} right")
for result, sample, hit in zip(results, samples, hits, strict=True):
    if not hit:
        print(f"{sample.question} {result} (truth: {sample.answer})")
