"""The demo's page: one HTML file that needs nothing else, on a phone and in the dark as well."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from _demo_cases import Case
from PIL import Image

from imglish.core.results import Boxes, Record, Regions, Result, Text, TextRegions
from imglish.core.types import SKILLS

STYLE = (Path(__file__).parent / "_demo.css").read_text(encoding="utf-8")
SIDE = 400  # pixels: about the longer side of a picture on the page
FRAMES = 6  # of a clip are shown
TELLS = {
    "ask": "a question about one picture or several",
    "caption": "a description: brief, normal or full; factual, pleased or displeased",
    "detect": "boxes of all things, or of those named",
    "ground": "the box of what a phrase means",
    "segment": "the outline of what a phrase means",
    "read": "lines of text, and where they are",
    "identify": "what is in a box",
    "count": "how many there are",
    "extract": "the fields of a document",
    "chat": "turns that build on one another",
    "watch": "a question about a clip, given as its frames",
    "photograph": "a picture from outside the world that the shipped model knows",
}


def page(cases: Sequence[Case], *, about: str) -> str:
    """The whole page; `about` is a line on the model and the machine."""
    skills = [skill for skill in (*SKILLS, "photograph") if any(case.skill == skill for case in cases)]
    sections = "\n".join(_section(skill, [case for case in cases if case.skill == skill]) for skill in skills)
    scored = [case for case in cases if case.skill != "photograph"]
    right = sum(case.right for case in scored)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>imglish: {right} of {len(scored)} right</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>imglish <small>the language of pictures</small></h1>
<p>Every skill of the model in the package, on pictures drawn a moment ago and never used in training; every second
question is worded as no question in training was. What is right is known exactly, because the pictures are drawn:
<b class="yes">✓ right</b> and <b class="no">✗ wrong</b> are computed, and nothing is left out.</p>
<p class="quiet">{escape(about)}</p>
</header>
<main>
{_summary(skills, cases, right, len(scored))}
{sections}
</main>
</body>
</html>
"""


def _summary(skills: Sequence[str], cases: Sequence[Case], right: int, of: int) -> str:
    rows = []
    for skill in skills:
        own = [case for case in cases if case.skill == skill]
        bars = "; ".join(dict.fromkeys(str(case.measure) for case in own))
        rows.append(_row(f'<a href="#{skill}">{skill}</a>', sum(case.right for case in own), len(own), escape(bars)))
    whole = _row("<b>all skills</b>", right, of, "without the photograph")
    languages = []
    for language in dict.fromkeys(case.sample.language for case in cases):
        own = [case for case in cases if case.sample.language == language and case.skill != "photograph"]
        languages.append(f"{language} {sum(case.right for case in own)} of {len(own)}")
    return f"""<table class="summary">
<thead><tr><th>skill</th><th>right</th><th></th><th>an answer is right by its</th></tr></thead>
<tbody>
{"".join(rows)}</tbody>
<tfoot>{whole}</tfoot>
</table>
<p class="quiet">By language: {", ".join(languages)}.</p>"""


def _row(name: str, right: int, of: int, bars: str) -> str:
    share = 100 * right / max(of, 1)
    meter = f'<span class="meter"><i style="width:{share:.0f}%"></i></span>'
    return f"<tr><td>{name}</td><td>{right} of {of}</td><td>{meter}</td><td>{bars}</td></tr>\n"


def _section(skill: str, cases: Sequence[Case]) -> str:
    if skill == "chat":
        talks: list[list[Case]] = []
        for case in cases:
            if case.turn == 1 or not talks:
                talks.append([])
            talks[-1].append(case)
        cards = [_talk(turns) for turns in talks]
    else:
        cards = [_card(case) for case in cases]
    right = sum(case.right for case in cases)
    return f"""<section id="{skill}">
<h2>{skill} <small>{TELLS[skill]}</small> <span class="count">{right} of {len(cases)}</span></h2>
<div class="cards">
{"".join(cards)}</div>
</section>"""


def _card(case: Case) -> str:
    pictures = _pictures(case)
    wide = " wide" if "<div" in pictures else ""  # several of them: two columns where there is room
    return f"""<article class="{"yes" if case.right else "no"}{wide}">
{pictures}
{_said(case)}
{_receipt([case])}
</article>
"""


def _talk(turns: Sequence[Case]) -> str:
    first = turns[0]
    return f"""<article class="{"yes" if all(case.right for case in turns) else "no"}">
{_image(first.sample.images[0], "the picture talked about")}
{"".join(_said(case) for case in turns)}
{_receipt(turns)}
</article>
"""


def _said(case: Case) -> str:
    sample, result = case.sample, case.result
    mark = '<b class="yes" title="right">✓</b>' if case.right else '<b class="no" title="wrong">✗</b>'
    question = f'<p class="question"{_lang(case)}>{escape(asked(case))}</p>' if asked(case) else ""
    if isinstance(result, Record):
        answer = _fields(result.data, sample.truth.data)
    else:
        given = f"failed: {case.error}" if result is None else told(result)
        answer = f'<p class="answer"{_lang(case)}>{mark} {escape(given)}</p>'
        if given != told(sample.truth) and sample.topic != "photograph":
            answer += f'<p class="truth"{_lang(case)}><span>truth</span> {escape(told(sample.truth))}</p>'
        elif sample.topic == "photograph":
            answer += f'<p class="truth"><span>wanted</span> {escape(sample.answer)}</p>'
    problems = "".join(
        f'<p class="problem">⚠ {escape(problem.kind.replace("_", " "))}: {escape(problem.message)}</p>'
        for problem in (result.problems if result is not None else ())
    )
    marked = "" if case.measure.name in ("same answer", "warns") else f"{case.measure.name} {case.score:.2f}"
    if isinstance(result, Record):
        marked = f"{mark} {escape(marked)}"
    return f'{question}{answer}{problems}<p class="score">{marked}</p>' if marked else question + answer + problems


def asked(case: Case) -> str:
    """The question as a person reads it; some skills take none."""
    sample = case.sample
    if sample.skill == "identify":
        return "What is in the box?"
    if sample.skill == "detect":
        return f"Find {', '.join(sample.labels) or 'everything'}"
    if sample.skill == "count":
        return f"How many: {sample.question}"
    return {"read": "What is written here?", "extract": ""}.get(sample.skill, sample.question)


def told(result: Result) -> str:
    """What a result says, in a line or a few."""
    if isinstance(result, Text):
        return result.text or "(nothing)"
    if isinstance(result, TextRegions) and len(result):
        return " / ".join(result.texts)
    if isinstance(result, Regions):
        labels = [item.label or "here" for item in result]
        if not labels:
            return "nothing" if result.parsed else "(could not be read)"
        return ", ".join(labels) if any(item.label for item in result) else f"{len(labels)} found, see the picture"
    return str(result)


def _fields(given: Mapping[str, Any], truth: Mapping[str, Any]) -> str:
    rows = []
    for name in [*truth, *(name for name in given if name not in truth)]:
        said, true = str(given.get(name, "N/A")), str(truth.get(name, "N/A"))
        same = " ".join(said.split()) == " ".join(true.split())
        mark = '<b class="yes">✓</b>' if same else '<b class="no">✗</b>'
        other = "" if same else f'<br><span class="truth"><span>truth</span> {escape(true)}</span>'
        rows.append(f"<tr><th>{escape(name)}</th><td>{mark} {escape(said)}{other}</td></tr>")
    return f'<table class="fields">{"".join(rows)}</table>'


def _pictures(case: Case) -> str:
    """The picture with the answer drawn on it; where regions are wrong, beside it the truth."""
    sample, result = case.sample, case.result
    own = sample.images[0]
    if sample.skill == "watch":
        places = [round(i * (len(sample.images) - 1) / (FRAMES - 1)) for i in range(FRAMES)]
        frames = [sample.images[place] for place in dict.fromkeys(places)]
        figures = [_image(frame, f"frame {place}") for frame, place in zip(frames, places, strict=False)]
        return f'<div class="strip">{"".join(figures)}</div>'
    if len(sample.images) > 1:
        figures = [_image(image, f"picture {number}") for number, image in enumerate(sample.images, 1)]
        return f'<div class="pair">{"".join(figures)}</div>'
    if sample.skill == "identify" and sample.region is not None:
        label = told(result) if result is not None else ""
        own = Boxes(xyxy=[sample.region], labels=[label], size=own.size).draw(own, scale=_scale(own))
    if not isinstance(result, Regions):
        return _image(own, "the picture")
    drawn = _image(result.draw(own, scale=_scale(own)), "the answer, drawn on the picture")
    if case.right:
        return drawn
    true = _image(sample.truth.draw(own, scale=_scale(own)), "the truth, drawn on the picture")
    return f"""<div class="pair"><figure>{drawn}<figcaption>answer</figcaption></figure>
<figure>{true}<figcaption>truth</figcaption></figure></div>"""


def _scale(picture: Image.Image) -> int:
    """Small enough that lines and labels can be seen on a card."""
    return max(1, round(SIDE / max(picture.size)))


def _image(picture: Image.Image, alt: str) -> str:
    """An <img> that carries its own bytes."""
    shown = picture.convert("RGB")
    if max(shown.size) > 2 * SIDE:
        shown.thumbnail((2 * SIDE, 2 * SIDE))
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=82, method=2)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f'<img alt="{escape(alt)}" width="{shown.width}" height="{shown.height}" src="data:image/webp;base64,{data}">'
    )


def poster(cases: Sequence[Case], skills: Sequence[str] = ("detect", "segment", "read", "caption")) -> Image.Image:
    """One picture for a document: the longest answer of each of these skills, drawn, side by side."""
    drawn = []
    for skill in skills:
        results = [case.result for case in cases if case.skill == skill and case.result is not None]
        result = max(results, key=lambda one: len(one.raw), default=None)
        if result is not None and result.picture is not None:
            drawn.append(result.draw(scale=_scale(result.picture)))
    gap = 12
    width = sum(one.width for one in drawn) + gap * max(len(drawn) - 1, 0)
    sheet = Image.new("RGB", (max(width, 1), max((one.height for one in drawn), default=1)), "white")
    x = 0
    for one in drawn:
        sheet.paste(one, (x, 0))
        x += one.width + gap
    return sheet


def _receipt(cases: Sequence[Case]) -> str:
    text = "\n\n".join("\n".join(_facts(case)) for case in cases)
    return f"""<details><summary>receipt: the call, and what the model saw and wrote</summary>
<pre>{escape(text)}</pre><p class="quiet">{escape(cases[0].sample.id)}</p></details>"""


def _facts(case: Case) -> Iterator[str]:
    """The call, what the model wrote, and every field of the receipt."""
    yield f">>> {case.call}"
    if case.result is None:
        return
    yield f"wrote: {case.result.raw}"
    receipt = case.result.receipt
    if receipt is None:
        return
    for field in dataclasses.fields(receipt):
        if field.name != "images":
            yield f"{field.name}: {getattr(receipt, field.name)}"
    for number, image in enumerate(receipt.images):
        facts = [f"{field.name} {getattr(image, field.name)}" for field in dataclasses.fields(image)]
        yield f"image {number}: {', '.join(facts)}"


def _lang(case: Case) -> str:
    return f' lang="{case.sample.language}"'
