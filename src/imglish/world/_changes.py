"""The words of `pair`: what happened to a thing, in four languages, and the ways to ask about it.

Polish and Russian verbs of the past agree with the thing's gender: forms for m, f, n and plural nouns.
"""

from __future__ import annotations

from imglish.world._forms import Table
from imglish.world._scene import Language
from imglish.world._words import GENDERS, adjective, article, gender, noun, phrase

WAYS: dict[Language, dict[str, str]] = {  # the answer to "which way does it move?"
    "en": {"left": "left", "right": "right", "up": "up", "down": "down"},
    "pl": {"left": "w lewo", "right": "w prawo", "up": "w górę", "down": "w dół"},
    "vi": {"left": "sang trái", "right": "sang phải", "up": "lên trên", "down": "xuống dưới"},
    "ru": {"left": "влево", "right": "вправо", "up": "вверх", "down": "вниз"},
}
_PAST: dict[str, dict[str, tuple[str, str, str, str]]] = {
    "pl": {
        "gone": ("zniknął", "zniknęła", "zniknęło", "zniknęły"),
        "appear": ("Pojawił się", "Pojawiła się", "Pojawiło się", "Pojawiły się"),
        "moved": ("przesunął się", "przesunęła się", "przesunęło się", "przesunęły się"),
        "was": ("był", "była", "było", "były"),
        "now": ("a teraz jest", "a teraz jest", "a teraz jest", "a teraz są"),
    },
    "ru": {
        "gone": ("исчез", "исчезла", "исчезло", "исчезли"),
        "appear": ("Появился", "Появилась", "Появилось", "Появились"),
        "moved": ("сдвинулся", "сдвинулась", "сдвинулось", "сдвинулись"),
        "was": ("был", "была", "было", "были"),
        "now": ("а теперь",) * 4,
    },
}
PICTURES: dict[Language, tuple[str, str, str, str]] = {
    "en": ("first", "second", "both", "neither"),
    "pl": ("pierwszy", "drugi", "oba", "żaden"),
    "vi": ("ảnh thứ nhất", "ảnh thứ hai", "cả hai", "không ảnh nào"),
    "ru": ("первая", "вторая", "обе", "ни одна"),
}


def way(direction: str, language: Language) -> str:
    """left, right, up or down as an answer."""
    return WAYS[language][direction]


def _verb(name: str, verb: str, language: Language) -> str:
    return _PAST[language][verb][GENDERS.index(gender(name, language))]


def start(text: str) -> str:
    return text[0].upper() + text[1:]


def nothing(language: Language) -> str:
    """Nothing changed."""
    return {
        "en": "Nothing changed.",
        "pl": "Nic się nie zmieniło.",
        "vi": "Không có gì thay đổi.",
        "ru": "Ничего не изменилось.",
    }[language]


def gone(name: str, colour: str, language: Language) -> str:
    """A thing is there no more."""
    thing = phrase(name, colour=colour, language=language)
    if language == "en":
        return f"The {thing} was removed."
    if language == "vi":
        return start(f"{thing} đã biến mất.")
    return start(f"{thing} {_verb(name, 'gone', language)}.")


def appear(name: str, colour: str, language: Language) -> str:
    """A thing is new."""
    thing = phrase(name, colour=colour, language=language)
    if language == "en":
        return start(f"{article(thing)} was added.")
    if language == "vi":
        return start(f"{thing} đã xuất hiện.")
    return f"{_verb(name, 'appear', language)} {thing}."


def moved(name: str, colour: str, direction: str, language: Language) -> str:
    """A thing has another place."""
    thing, to = phrase(name, colour=colour, language=language), WAYS[language][direction]
    if language == "en":
        return f"The {thing} moved {'to the ' if direction in ('left', 'right') else ''}{to}."
    if language == "vi":
        return start(f"{thing} đã di chuyển {to}.")
    return start(f"{thing} {_verb(name, 'moved', language)} {to}.")


def recoloured(name: str, colour: str, became: str, language: Language) -> str:
    """A thing has another colour."""
    thing, form = noun(name, language), gender(name, language)
    old, new = adjective(colour, language, form), adjective(became, language, form)
    if language == "en":
        return f"The {thing} turned from {old} to {new}."
    if language == "vi":
        return start(f"{thing} đã đổi từ {old} sang {new}.")
    return start(f"{thing} {_verb(name, 'was', language)} {old}, {_verb(name, 'now', language)} {new}.")


TABLE: Table = {
    "what": {
        "en": "What changed?|What is different?|What has changed between the two pictures?|"
        "Spot the difference.|What is the difference between these pictures?|Compare the two pictures.|"
        "How do the two pictures differ?|What is different in the second picture?|"
        "What happened between the first picture and the second?|Find the difference.|"
        "Tell me what has changed.|What differs between the images?|How has the scene changed?||"
        "What is different between these pictures?|Tell me the change from one picture to the next.|"
        "Can you spot what has been altered?|Name the difference between the images, please.",
        "pl": "Co się zmieniło?|Jaka jest różnica?|Czym różnią się te obrazki?|Znajdź różnicę.|"
        "Co jest inne na drugim obrazku?||Porównaj oba obrazki.|Powiedz, co się zmieniło.",
        "vi": "Điều gì đã thay đổi?|Có gì khác nhau?|Hai bức ảnh khác nhau thế nào?|Tìm điểm khác nhau.|"
        "Ảnh thứ hai có gì khác?||Hãy so sánh hai bức ảnh.|Cho biết điều gì đã thay đổi.",
        "ru": "Что изменилось?|В чём разница?|Чем отличаются эти картинки?|Найди отличие.|"
        "Что другое на второй картинке?||Сравни две картинки.|Скажи, что изменилось.",
    },
    "which": {
        "en": "In which picture is there {thing}?|Which picture has {thing}?|"
        "Which of the two pictures shows {thing}?|"
        "Where can you see {thing}, in the first picture or in the second?|Which image contains {thing}?|"
        "In which of the images do you see {thing}?||Which of the pictures shows {thing}?|"
        "Tell me which image has {thing} in it.|Which image can I find {thing} in?|"
        "I'm looking for {thing}, which picture is that in?",
        "pl": "Na którym obrazku jest {thing}?|Który obrazek pokazuje to: {thing}?|"
        "Na którym z obrazków widać to: {thing}?|Gdzie jest {thing}, na pierwszym czy na drugim obrazku?||"
        "Na którym obrazku znajduje się {thing}?",
        "vi": "{thing} có trong ảnh nào?|Ảnh nào có {thing}?|Bức ảnh nào cho thấy {thing}?|"
        "{thing} ở ảnh thứ nhất hay ảnh thứ hai?||Bạn thấy {thing} trong ảnh nào?",
        "ru": "На какой картинке есть {thing}?|Какая картинка показывает это: {thing}?|"
        "Где {thing}, на первой картинке или на второй?|На которой из двух картинок {thing}?||"
        "На какой картинке находится {thing}?",
    },
    "more": {
        "en": "Which picture has more {things}?|In which picture are there more {things}?|"
        "Which of the two pictures shows more {things}?|"
        "Where are more {things}, in the first picture or in the second?|"
        "Which image contains more {things}?||Which image contains the larger number of {things}?|"
        "Where do you see more {things}, and in which picture is that?|"
        "Tell me which of the pictures has the most {things}.|"
        "Comparing the images, which one shows more {things}?",
        "pl": "Na którym obrazku {things} występuje więcej razy?|Na którym obrazku {things} jest częściej?|"
        "Gdzie {things} występuje więcej razy, na pierwszym czy na drugim obrazku?|"
        "Na którym z dwóch obrazków {things} pojawia się więcej razy?||"
        "Na którym obrazku {things} pojawia się częściej?",
        "vi": "Ảnh nào có nhiều {things} hơn?|Bức ảnh nào nhiều {things} hơn?|{things} ở ảnh nào nhiều hơn?|"
        "Trong ảnh nào có nhiều {things} hơn?||Ảnh nào chứa nhiều {things} hơn?",
        "ru": "На какой картинке {things} встречается больше раз?|На какой картинке {things} чаще?|"
        "Где {things} встречается больше раз, на первой картинке или на второй?|"
        "На которой из двух картинок {things} встречается больше раз?||"
        "На какой из картинок {things} встречается чаще?",
    },
    "fuller": {
        "en": "Which picture has more things?|In which picture is there more to see?|"
        "Which of the two pictures shows more things?|Which picture is fuller?|"
        "Which image contains more things?||Which image contains the greater number of objects?|"
        "Tell me which of the pictures has the most objects in it.|"
        "Comparing the pictures, which one has more items overall?|"
        "Please say which picture shows more objects in total.",
        "pl": "Na którym obrazku jest więcej rzeczy?|Który obrazek ma więcej rzeczy?|Gdzie jest więcej rzeczy?|"
        "Na którym z dwóch obrazków widać więcej?||Który obrazek zawiera więcej rzeczy?",
        "vi": "Ảnh nào có nhiều đồ vật hơn?|Bức ảnh nào nhiều đồ vật hơn?|Trong ảnh nào có nhiều đồ vật hơn?|"
        "Ảnh nào nhiều thứ hơn?||Ảnh nào chứa nhiều đồ vật hơn?",
        "ru": "На какой картинке больше предметов?|Где больше предметов?|Какая картинка содержит больше предметов?|"
        "На которой из двух картинок больше предметов?||На какой из картинок видно больше предметов?",
    },
}
