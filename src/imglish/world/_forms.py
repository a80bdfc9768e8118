"""How samples of text, papers and charts are made: wordings from tables, and one maker that numbers them.

A table is `{topic: {language: "wording|wording||held|held"}}`; what stands behind `||` is never used in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from imglish.core.results import Record, Result, Text, TextRegions
from imglish.core.types import Sample
from imglish.world._scene import Language, Scene, TextLine, Wording

Table = Mapping[str, Mapping[Language, str]]


def wordings(table: Table, topic: str, language: Language, wording: Wording) -> list[str]:
    """All wordings of a topic of one kind."""
    train, _, held = table[topic][language].partition("||")
    return [" ".join(text.split()) for text in (held if wording == "held" else train).split("|")]


class Maker:
    """Makes the samples of one scene in one language."""

    def __init__(self, scene: Scene, table: Table, language: Language, wording: Wording) -> None:
        self.scene, self.table, self.language, self.wording = scene, table, language, wording
        self.rng = Random(f"{scene.kind}/{scene.seed}/{scene.size}/{scene.difficulty}/{language}/{wording}")
        self._count = 0

    def question(self, topic: str, **slots: Any) -> str:
        """One wording of the question, its slots filled."""
        text = self.rng.choice(wordings(self.table, topic, self.language, self.wording))
        for name, value in slots.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def choose(self, table: Table, topic: str) -> str:
        """One wording from another table."""
        return self.rng.choice(wordings(table, topic, self.language, self.wording))

    def say(self, topic: str, **slots: Any) -> str:
        """The one way in which an answer is worded."""
        text = self.table[topic][self.language]
        for name, value in slots.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def sample(self, skill: str, topic: str, question: str, answer: str, truth: Result, **more: Any) -> Sample:
        """A numbered sample of the scene's pictures."""
        scene, self._count = self.scene, self._count + 1
        tags = ("world", scene.kind, scene.difficulty, self.wording, *more.pop("tags", ()))
        name = f"{scene.kind}/{scene.difficulty}/{scene.size[0]}x{scene.size[1]}/{scene.seed}"
        return Sample(
            id=f"{name}/{self.language}/{self.wording}/{self._count}",
            skill=skill,
            images=scene.images,
            question=question,
            answer=answer,
            truth=truth,
            language=self.language,
            topic=topic,
            tags=tags,
            **more,
        )

    def ask(self, topic: str, question: str, answer: str, **more: Any) -> Sample:
        """A question with a short answer."""
        return self.sample("ask", topic, question, answer, Text(text=answer), **more)

    def read(self, question: str, lines: Sequence[TextLine], **more: Any) -> Sample:
        """All lines of the picture, with their places."""
        quads = [line.quad for line in lines]
        truth = TextRegions(texts=tuple(line.string for line in lines), quads=quads, size=self.scene.size)  # type: ignore[arg-type]
        return self.sample("read", "read", question, truth.text, truth, **more)

    def extract(self, question: str, fields: Mapping[str, str], about: Mapping[str, str]) -> Sample:
        """The fields of the scene as a record; `about` describes each field in the schema."""
        schema = {
            "type": "object",
            "properties": {name: {"type": "string", "description": about[name]} for name in fields},
            "required": list(fields),
            "additionalProperties": False,
        }
        truth = Record(data=dict(fields), schema=schema)
        return self.sample("extract", "fields", question, str(truth), truth, schema=schema)
