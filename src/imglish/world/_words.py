"""The world's vocabulary: things and colours in four languages, and the small words that go with them.

`THINGS` and `COLOURS` keep their order for ever: a model's class index is a position in them. New words go to the end.
Polish and Russian nouns carry a gender, `m f n` or `p` (plural only), because a colour agrees with its noun.
"""

from __future__ import annotations

from dataclasses import dataclass

from imglish.world._scene import Language

# name | English plural | Polish, gender | Vietnamese | Russian, gender
_THINGS = """
circle|circles|koło n|hình tròn|круг m
square|squares|kwadrat m|hình vuông|квадрат m
triangle|triangles|trójkąt m|hình tam giác|треугольник m
rectangle|rectangles|prostokąt m|hình chữ nhật|прямоугольник m
star|stars|gwiazda f|ngôi sao|звезда f
heart|hearts|serce n|trái tim|сердце n
cross|crosses|krzyż m|dấu cộng|крест m
ring|rings|pierścień m|chiếc nhẫn|кольцо n
moon|moons|księżyc m|mặt trăng|луна f
hexagon|hexagons|sześciokąt m|hình lục giác|шестиугольник m
diamond|diamonds|romb m|hình thoi|ромб m
arrow|arrows|strzałka f|mũi tên|стрелка f
house|houses|dom m|ngôi nhà|дом m
tree|trees|drzewo n|cái cây|дерево n
car|cars|samochód m|ô tô|машина f
fish|fish|ryba f|con cá|рыба f
cup|cups|kubek m|cái cốc|чашка f
key|keys|klucz m|chìa khóa|ключ m
flag|flags|flaga f|lá cờ|флаг m
mushroom|mushrooms|grzyb m|cây nấm|гриб m
apple|apples|jabłko n|quả táo|яблоко n
boat|boats|łódka f|con thuyền|лодка f
bell|bells|dzwonek m|cái chuông|колокольчик m
bottle|bottles|butelka f|cái chai|бутылка f
hat|hats|kapelusz m|cái mũ|шляпа f
lightning bolt|lightning bolts|błyskawica f|tia chớp|молния f
padlock|padlocks|kłódka f|ổ khóa|замок m
drop|drops|kropla f|giọt nước|капля f
keyboard|keyboards|klawiatura f|bàn phím|клавиатура f
sun|suns|słońce n|mặt trời|солнце n
cloud|clouds|chmura f|đám mây|облако n
umbrella|umbrellas|parasol m|cái ô|зонт m
telephone|telephones|telefon m|điện thoại|телефон m
clover|clovers|koniczyna f|cỏ ba lá|клевер m
hand|hands|dłoń f|bàn tay|рука f
skull|skulls|czaszka f|đầu lâu|череп m
smiley|smileys|buźka f|mặt cười|смайлик m
king|kings|król m|quân vua|король m
queen|queens|hetman m|quân hậu|ферзь m
rook|rooks|wieża f|quân xe|ладья f
knight|knights|skoczek m|quân mã|конь m
pawn|pawns|pionek m|quân tốt|пешка f
spade|spades|pik m|quân bích|пика f
note|notes|nuta f|nốt nhạc|нота f
dice|dice|kostka f|xúc xắc|кубик m
anchor|anchors|kotwica f|mỏ neo|якорь m
scales|scales|waga f|cái cân|весы p
flower|flowers|kwiat m|bông hoa|цветок m
gear|gears|zębatka f|bánh răng|шестерёнка f
scissors|scissors|nożyczki p|cái kéo|ножницы p
plane|planes|samolot m|máy bay|самолёт m
envelope|envelopes|koperta f|phong bì|конверт m
pencil|pencils|ołówek m|bút chì|карандаш m
snowflake|snowflakes|śnieżynka f|bông tuyết|снежинка f
mouse|mice|mysz f|con chuột|мышь f
cow|cows|krowa f|con bò|корова f
cat|cats|kot m|con mèo|кот m
monkey|monkeys|małpa f|con khỉ|обезьяна f
peace sign|peace signs|pacyfka f|dấu hòa bình|пацифик m
radiation sign|radiation signs|znak promieniowania m|dấu phóng xạ|знак радиации m
check mark|check marks|ptaszek m|dấu tích|галочка f
playing card|playing cards|karta f|lá bài|карта f
"""

# name | RGB | Polish m f n p | Vietnamese | Russian m f n p
_COLOURS = """
red|214 32 36|czerwony czerwona czerwone czerwone|màu đỏ|красный красная красное красные
orange|246 134 20|pomarańczowy pomarańczowa pomarańczowe pomarańczowe|màu cam|оранжевый оранжевая оранжевое оранжевые
yellow|246 216 34|żółty żółta żółte żółte|màu vàng|жёлтый жёлтая жёлтое жёлтые
green|36 150 58|zielony zielona zielone zielone|màu xanh lá|зелёный зелёная зелёное зелёные
blue|32 86 206|niebieski niebieska niebieskie niebieskie|màu xanh dương|синий синяя синее синие
purple|126 48 164|fioletowy fioletowa fioletowe fioletowe|màu tím|фиолетовый фиолетовая фиолетовое фиолетовые
pink|250 140 192|różowy różowa różowe różowe|màu hồng|розовый розовая розовое розовые
brown|118 70 30|brązowy brązowa brązowe brązowe|màu nâu|коричневый коричневая коричневое коричневые
black|22 22 24|czarny czarna czarne czarne|màu đen|чёрный чёрная чёрное чёрные
white|250 250 250|biały biała białe białe|màu trắng|белый белая белое белые
"""

_SIZES = """
small|mały mała małe małe|nhỏ|маленький маленькая маленькое маленькие
medium|średni średnia średnie średnie|vừa|средний средняя среднее средние
large|duży duża duże duże|lớn|большой большая большое большие
"""

GENDERS = "mfnp"
PLURAL_ONLY = ("scissors", "scales")


@dataclass(frozen=True)
class Noun:
    """A thing's name in every language."""

    name: str
    plural: str
    pl: str
    pl_gender: str
    vi: str
    ru: str
    ru_gender: str


@dataclass(frozen=True)
class Adjective:
    """A colour or a size in every language; `pl` and `ru` hold the forms for m, f, n and plural nouns."""

    name: str
    pl: tuple[str, ...]
    vi: str
    ru: tuple[str, ...]


def _noun(line: str) -> Noun:
    name, plural, pl, vi, ru = line.split("|")
    polish, pl_gender = pl.rsplit(" ", 1)
    russian, ru_gender = ru.rsplit(" ", 1)
    return Noun(name, plural, polish, pl_gender, vi, russian, ru_gender)


def _adjective(name: str, pl: str, vi: str, ru: str) -> Adjective:
    return Adjective(name, tuple(pl.split()), vi, tuple(ru.split()))


NOUNS: dict[str, Noun] = {noun.name: noun for noun in map(_noun, _THINGS.split("\n")[1:-1])}
THINGS: tuple[str, ...] = tuple(NOUNS)
_COLOUR_ROWS = [line.split("|") for line in _COLOURS.split("\n")[1:-1]]
COLOUR_WORDS: dict[str, Adjective] = {row[0]: _adjective(row[0], *row[2:]) for row in _COLOUR_ROWS}
COLOURS: tuple[str, ...] = tuple(COLOUR_WORDS)
RGB: dict[str, tuple[int, int, int]] = {
    row[0]: (int(red), int(green), int(blue)) for row in _COLOUR_ROWS for red, green, blue in [row[1].split()]
}
SIZE_WORDS: dict[str, Adjective] = {
    row[0]: _adjective(*row) for row in (line.split("|") for line in _SIZES.split("\n")[1:-1])
}
SIZE_WORDS |= {
    "smallest": Adjective(
        "smallest",
        ("najmniejszy", "najmniejsza", "najmniejsze", "najmniejsze"),
        "nhỏ nhất",
        ("самый маленький", "самая маленькая", "самое маленькое", "самые маленькие"),
    ),
    "largest": Adjective(
        "largest",
        ("największy", "największa", "największe", "największe"),
        "lớn nhất",
        ("самый большой", "самая большая", "самое большое", "самые большие"),
    ),
}
SIZES: tuple[str, ...] = ("small", "medium", "large")

RELATIONS: dict[str, dict[Language, str]] = {  # worded so that the noun behind it stays in the nominative
    "left of": {"en": "left of", "pl": "na lewo od przedmiotu:", "vi": "bên trái", "ru": "слева от предмета:"},
    "right of": {"en": "right of", "pl": "na prawo od przedmiotu:", "vi": "bên phải", "ru": "справа от предмета:"},
    "above": {"en": "above", "pl": "nad przedmiotem:", "vi": "phía trên", "ru": "над предметом:"},
    "below": {"en": "below", "pl": "pod przedmiotem:", "vi": "phía dưới", "ru": "под предметом:"},
}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SIDES: dict[str, dict[Language, str]] = {  # the short answer to "where is it?"
    "left of": {"en": "left", "pl": "z lewej", "vi": "bên trái", "ru": "слева"},
    "right of": {"en": "right", "pl": "z prawej", "vi": "bên phải", "ru": "справа"},
    "above": {"en": "above", "pl": "powyżej", "vi": "phía trên", "ru": "выше"},
    "below": {"en": "below", "pl": "poniżej", "vi": "phía dưới", "ru": "ниже"},
}
EXTREMES: dict[str, dict[Language, str]] = {  # the one of its kind that is farthest to a side; {x} stays as it is
    "left": {
        "en": "leftmost {x}",
        "pl": "{x} najbardziej po lewej",
        "vi": "{x} ngoài cùng bên trái",
        "ru": "{x} левее всех",
    },
    "right": {
        "en": "rightmost {x}",
        "pl": "{x} najbardziej po prawej",
        "vi": "{x} ngoài cùng bên phải",
        "ru": "{x} правее всех",
    },
    "top": {"en": "topmost {x}", "pl": "{x} najbliżej górnej krawędzi", "vi": "{x} trên cùng", "ru": "{x} выше всех"},
    "bottom": {"en": "lowest {x}", "pl": "{x} najbliżej dolnej krawędzi", "vi": "{x} dưới cùng", "ru": "{x} ниже всех"},
}
_PLACES: dict[Language, str] = {
    "en": "at the top left|at the top|at the top right|on the left|in the middle|on the right|"
    "at the bottom left|at the bottom|at the bottom right",
    "pl": "w lewym górnym rogu|u góry|w prawym górnym rogu|po lewej|na środku|po prawej|"
    "w lewym dolnym rogu|na dole|w prawym dolnym rogu",
    "vi": "ở góc trên bên trái|ở phía trên|ở góc trên bên phải|ở bên trái|ở giữa|ở bên phải|"
    "ở góc dưới bên trái|ở phía dưới|ở góc dưới bên phải",
    "ru": "вверху слева|вверху|вверху справа|слева|в центре|справа|внизу слева|внизу|внизу справа",
}
PLACES = {language: tuple(text.split("|")) for language, text in _PLACES.items()}  # three rows of three
THING: dict[Language, str] = {"en": "thing", "pl": "przedmiot", "vi": "vật", "ru": "предмет"}
EVERYTHING: dict[Language, tuple[str, ...]] = {  # what to say to `count` for all there is
    "en": ("things", "objects", "everything"),
    "pl": ("przedmioty", "wszystko"),
    "vi": ("đồ vật", "tất cả"),
    "ru": ("предметы", "всё"),
}
NOTHING: dict[Language, str] = {"en": "nothing", "pl": "nic", "vi": "không có gì", "ru": "ничего"}
AND: dict[Language, str] = {"en": "and", "pl": "i", "vi": "và", "ru": "и"}
YES: dict[Language, str] = {"en": "yes", "pl": "tak", "vi": "có", "ru": "да"}
NO: dict[Language, str] = {"en": "no", "pl": "nie", "vi": "không", "ru": "нет"}


def noun(name: str, language: Language = "en") -> str:
    """The name of a thing in a language; a name that the vocabulary lacks stays as it is."""
    word = NOUNS.get(name)
    return name if word is None or language == "en" else str(getattr(word, language))


def gender(name: str, language: Language) -> str:
    """`m`, `f`, `n` or `p` (plural only) in Polish and Russian, `m` elsewhere."""
    return str(getattr(NOUNS[name], f"{language}_gender", "m")) if name in NOUNS else "m"


def adjective(word: str, language: Language, form: str = "m") -> str:
    """A colour or size word in a language, in the form for a gender."""
    entry = COLOUR_WORDS.get(word) or SIZE_WORDS[word]
    if language == "en":
        return word
    if language == "vi":
        return entry.vi
    forms = entry.pl if language == "pl" else entry.ru
    return forms[GENDERS.index(form)]


def colour_word(colour: str, language: Language, form: str = "m") -> str:
    """A colour as a short answer: without the Vietnamese word for "colour"."""
    return adjective(colour, language, form).removeprefix("màu ")


def verb(name: str, language: Language) -> str:
    """The "is" that goes with a thing: "are" with a noun that has a plural only."""
    plural = gender(name, "pl") == "p" if language == "pl" else name in PLURAL_ONLY
    return {"en": ("is", "are"), "pl": ("jest", "są"), "vi": ("là", "là"), "ru": ("есть", "есть")}[language][plural]


def phrase(name: str, *, colour: str = "", size: str = "", language: Language = "en") -> str:
    """A thing with its adjectives, in the nominative.

    >>> phrase("cat", colour="red")
    'red cat'
    >>> phrase("flag", colour="red", size="large", language="pl")
    'duża czerwona flaga'
    >>> phrase("cat", colour="red", language="vi")
    'con mèo màu đỏ'
    """
    form = gender(name, language)
    words = [adjective(word, language, form) for word in (size, colour) if word]
    if language == "vi":
        return " ".join([noun(name, language), *words])
    return " ".join([*words, noun(name, language)])


def joined(texts: list[str], language: Language) -> str:
    """A list as one says it: commas, and the last one after "and"."""
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {AND[language]} {texts[-1]}"


def counted(name: str, count: int, *, colour: str = "", language: Language = "en") -> str:
    """So many of a thing: `2 red cats` in English; elsewhere `2 × czerwony kot`, which no case ending can spoil."""
    if language == "en":
        word = NOUNS[name].plural if name in NOUNS else f"{name}s"
        return f"{count} {colour} {word}" if colour else f"{count} {word}"
    return f"{count} × {phrase(name, colour=colour, language=language)}"


def article(text: str) -> str:
    """The English indefinite article in front of a phrase; plural-only nouns take none."""
    if text.endswith(PLURAL_ONLY):
        return text
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
