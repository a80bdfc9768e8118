"""The words of `clip`: what moves, appears and disappears, in four languages, and the ways to ask about it."""

from __future__ import annotations

from imglish.world._changes import WAYS, Wordings, start
from imglish.world._scene import Language, Wording
from imglish.world._words import article, gender, phrase

NOBODY: dict[Language, str] = {"en": "nothing", "pl": "nic", "vi": "không có gì", "ru": "ничего"}

ASKED: dict[str, dict[Language, Wordings]] = {
    "way": {
        "en": (
            (
                "Which way does {thing} move?",
                "In which direction does {thing} move?",
                "Where does {thing} go?",
                "Where is {thing} moving?",
                "Which direction is {thing} moving in?",
                "Which way is {thing} going?",
                "Does {thing} move left, right, up or down?",
                "What is the direction in which {thing} travels?",
            ),
            ("Towards which side does {thing} move?", "Which way does {thing} travel?", "Where is {thing} heading?"),
        ),
        "pl": (
            (
                "W którą stronę porusza się {thing}?",
                "Dokąd przesuwa się {thing}?",
                "W jakim kierunku porusza się {thing}?",
                "W którą stronę przesuwa się {thing}?",
            ),
            ("Dokąd zmierza {thing}?", "W jakim kierunku jedzie {thing}?"),
        ),
        "vi": (
            (
                "{thing} di chuyển về hướng nào?",
                "{thing} đi về đâu?",
                "{thing} đang di chuyển theo hướng nào?",
                "Hướng di chuyển của {thing} là gì?",
            ),
            ("{thing} đi theo hướng nào?",),
        ),
        "ru": (
            (
                "Куда движется {thing}?",
                "В какую сторону движется {thing}?",
                "В каком направлении движется {thing}?",
                "Куда перемещается {thing}?",
            ),
            ("В какую сторону перемещается {thing}?",),
        ),
    },
    "mover": {
        "en": (
            (
                "What moves?",
                "Which thing moves?",
                "What is moving?",
                "What is in motion?",
                "Which object is moving?",
                "Name the thing that moves.",
            ),
            ("Which object changes its place?", "What does not stay still?"),
        ),
        "pl": (
            ("Co się porusza?", "Która rzecz się porusza?", "Co się przesuwa?", "Co jest w ruchu?"),
            ("Co zmienia miejsce?",),
        ),
        "vi": (
            ("Cái gì di chuyển?", "Vật nào di chuyển?", "Cái gì đang chuyển động?", "Thứ gì đang di chuyển?"),
            ("Vật nào thay đổi vị trí?",),
        ),
        "ru": (
            ("Что движется?", "Какой предмет движется?", "Что перемещается?", "Что в движении?"),
            ("Что меняет место?",),
        ),
    },
    "moves": {
        "en": (
            ("Does {thing} move?", "Is {thing} moving?", "Is {thing} in motion?", "Does {thing} change its place?"),
            ("Is {thing} on the move?",),
        ),
        "pl": (
            (
                "Czy {thing} się porusza?",
                "Czy {thing} się przesuwa?",
                "Czy {thing} jest w ruchu?",
                "Czy porusza się {thing}?",
            ),
            ("Czy {thing} zmienia miejsce?",),
        ),
        "vi": (
            (
                "{thing} có di chuyển không?",
                "{thing} có chuyển động không?",
                "{thing} có đang di chuyển không?",
                "{thing} có thay đổi chỗ không?",
            ),
            ("{thing} có thay đổi vị trí không?",),
        ),
        "ru": (
            ("Движется ли {thing}?", "{thing} движется?", "Перемещается ли {thing}?", "Меняет ли {thing} место?"),
            ("Находится ли {thing} в движении?",),
        ),
    },
    "happens": {
        "en": (
            (
                "What happens?",
                "What happens in the video?",
                "Describe what happens.",
                "What is going on?",
                "What happens in this clip?",
                "Tell me what happens.",
            ),
            ("What takes place in this video?", "Summarise the clip."),
        ),
        "pl": (
            ("Co się dzieje?", "Co się dzieje na filmie?", "Opisz, co się dzieje.", "Co dzieje się w tym klipie?"),
            ("Powiedz, co się dzieje.",),
        ),
        "vi": (
            ("Điều gì xảy ra?", "Điều gì xảy ra trong video?", "Mô tả điều xảy ra.", "Chuyện gì đang diễn ra?"),
            ("Hãy kể điều gì xảy ra.",),
        ),
        "ru": (
            ("Что происходит?", "Что происходит в видео?", "Опиши, что происходит.", "Что творится в этом ролике?"),
            ("Расскажи, что происходит.",),
        ),
    },
}
# what moves, appears or disappears first or last: one shape, put together
_ORDER: dict[Language, tuple[tuple[str, ...], tuple[str, ...], dict[str, tuple[str, str]]]] = {
    "en": (
        (
            "What {verb} {when}?",
            "Which thing {verb} {when}?",
            "Which object {verb} {when}?",
            "Tell me what {verb} {when}.",
        ),
        ("Name the thing that {verb} {when}.",),
        {"move": ("moves", "first|last"), "appear": ("appears", "first|last"), "gone": ("disappears", "first|last")},
    ),
    "pl": (
        ("Co {verb} {when}?", "Która rzecz {verb} {when}?", "{when}: co {verb}?", "Powiedz, co {verb} {when}."),
        ("Jaka rzecz {verb} {when}?",),
        {
            "move": ("porusza się", "najpierw|na końcu"),
            "appear": ("pojawia się", "najpierw|na końcu"),
            "gone": ("znika", "najpierw|na końcu"),
        },
    ),
    "vi": (
        ("Cái gì {verb} {when}?", "Vật nào {verb} {when}?", "Thứ gì {verb} {when}?", "Cho biết vật nào {verb} {when}."),
        ("Đồ vật nào {verb} {when}?",),
        {
            "move": ("di chuyển", "đầu tiên|cuối cùng"),
            "appear": ("xuất hiện", "đầu tiên|cuối cùng"),
            "gone": ("biến mất", "đầu tiên|cuối cùng"),
        },
    ),
    "ru": (
        ("Что {verb} {when}?", "Какой предмет {verb} {when}?", "{when}: что {verb}?", "Скажи, что {verb} {when}."),
        ("Какая вещь {verb} {when}?",),
        {
            "move": ("движется", "сначала|в конце"),
            "appear": ("появляется", "сначала|в конце"),
            "gone": ("исчезает", "сначала|в конце"),
        },
    ),
}


def wordings(topic: str, language: Language, wording: Wording) -> tuple[str, ...]:
    """The questions of `topic` in that language, for training or held out."""
    train, held = ASKED[topic][language]
    return held if wording == "held" else train


def order_wordings(verb: str, last: bool, language: Language, wording: Wording) -> tuple[str, ...]:
    """What moves (`move`), appears (`appear`) or disappears (`gone`) first, or last."""
    train, held, verbs = _ORDER[language]
    word, whens = verbs[verb]
    return tuple(text.format(verb=word, when=whens.split("|")[last]) for text in (held if wording == "held" else train))


def moving(name: str, colour: str, direction: str, language: Language) -> str:
    """A thing moves, now."""
    thing, to = phrase(name, colour=colour, language=language), WAYS[language][direction]
    many = gender(name, language) == "p"
    if language == "en":
        return f"The {thing} moves {'to the ' if direction in ('left', 'right') else ''}{to}."
    verb = {"pl": ("przesuwa się", "przesuwają się"), "vi": ("di chuyển",) * 2, "ru": ("движется", "движутся")}[
        language
    ]
    return start(f"{thing} {verb[many]} {to}.")


def coming(name: str, colour: str, language: Language) -> str:
    """A thing appears, now."""
    thing, many = phrase(name, colour=colour, language=language), gender(name, language) == "p"
    if language == "en":
        return start(f"{article(thing)} appears.")
    if language == "vi":
        return start(f"{thing} xuất hiện.")
    return f"{({'pl': ('Pojawia się', 'Pojawiają się'), 'ru': ('Появляется', 'Появляются')}[language])[many]} {thing}."


def going(name: str, colour: str, language: Language) -> str:
    """A thing disappears, now."""
    thing, many = phrase(name, colour=colour, language=language), gender(name, language) == "p"
    if language == "en":
        return f"The {thing} disappears."
    verb = {"pl": ("znika", "znikają"), "vi": ("biến mất",) * 2, "ru": ("исчезает", "исчезают")}[language]
    return start(f"{thing} {verb[many]}.")


def nothing_happens(language: Language) -> str:
    """All stands still."""
    return {
        "en": "Nothing happens.",
        "pl": "Nic się nie dzieje.",
        "vi": "Không có gì xảy ra.",
        "ru": "Ничего не происходит.",
    }[language]
