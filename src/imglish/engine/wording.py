"""What a caption is asked for in words, where the user gives none."""

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


def caption_instruction(text: str, *, detail: str, tone: str, language: str) -> str:
    """The user's own words, or the usual ones of the language; the tone is a second sentence."""
    if detail not in DETAILS:
        raise InputError(f"detail is {detail!r}; allowed are {', '.join(DETAILS)}")
    if tone not in TONES:
        raise InputError(f"tone is {tone!r}; allowed are {', '.join(TONES)}")
    words = _CAPTION.get(language, _CAPTION["en"])
    first = text or words[0]
    return first if tone == "factual" else f"{first} {words[TONES.index(tone)]}"
