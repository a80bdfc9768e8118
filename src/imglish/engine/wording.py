"""What a skill is asked for in words, where the user gives fewer."""

from __future__ import annotations

from imglish.core.errors import InputError

DETAILS = ("brief", "normal", "full")
TONES = ("factual", "positive", "negative")
_CAPTION = {
    "en": ("Describe the picture.", "Use a positive tone.", "Use a negative tone."),
    "pl": ("Opisz obrazek.", "Pisz pozytywnie.", "Pisz negatywnie."),
    "vi": ("Mô tả bức ảnh.", "Hãy viết tích cực.", "Hãy viết tiêu cực."),
    "ru": ("Опиши картинку.", "Пиши положительно.", "Пиши отрицательно."),
}


_COUNT = {"en": "How many {}?", "pl": "Policz: {}.", "vi": "Đếm số {}.", "ru": "Посчитай: {}."}


def count_question(thing: str, *, language: str) -> str:
    """The question of how many there are; one that is a question already stays as it is."""
    if not thing.strip():
        raise InputError("there is nothing to count", hint='name a thing: count("a.png", "cats")')
    is_sentence = thing.rstrip().endswith(("?", ".", "!"))
    return thing if is_sentence else _COUNT.get(language, _COUNT["en"]).format(thing)


def caption_instruction(text: str, *, detail: str, tone: str, language: str) -> str:
    """The user's own words, or the usual ones of the language; the tone is a second sentence."""
    if detail not in DETAILS:
        raise InputError(f"detail is {detail!r}; allowed are {', '.join(DETAILS)}")
    if tone not in TONES:
        raise InputError(f"tone is {tone!r}; allowed are {', '.join(TONES)}")
    words = _CAPTION.get(language, _CAPTION["en"])
    first = text or words[0]
    return first if tone == "factual" else f"{first} {words[TONES.index(tone)]}"
