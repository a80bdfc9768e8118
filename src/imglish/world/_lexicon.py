"""Short words in four languages: real ones from small lists of our own, invented ones from syllables, and plates."""

from __future__ import annotations

from random import Random

from imglish.world._scene import LANGUAGES, Language

_WORDS: dict[Language, str] = {
    "en": (
        "the house water bread open closed exit north south market street garden winter summer night morning river "
        "bridge window kitchen yellow orange quick brown which where there today please welcome danger school light "
        "weather thing three eight though world fresh coffee ticket tower whale height"
    ),
    "pl": (
        "wyjście wejście chleb książka źródło żółty łódź święto góra miód ogień ćwiczenie dzień dobry mąka jabłko wąż "
        "gęś szkoła ulica rynek sklep okno drzwi dziękuję proszę północ południe wschód zachód kwiat rzeka pociąg "
        "koń śnieg zupa pióro część łąka życie cześć wieża źle żaba"
    ),
    "vi": (
        "nước đường phở bánh cửa trường học chợ sông biển núi xin chào cảm ơn trắng đỏ vàng người nhà sách điện tháng "
        "năm sáng tối mười tám chín bảy thịt cà phê giá tiền đóng mở phố hẻm cầu lửa gió mưa nắng trời đất ngọt "
        "mặn"
    ),
    "ru": (
        "вход выход хлеб молоко книга школа улица рынок окно дверь река мост зима лето ночь утро город дом вода огонь "
        "земля небо птица цветок ёлка ещё объект чай кофе север юг восток запад спасибо открыто закрыто билет поезд "
        "жёлтый синий цена щука эхо юла яблоко"
    ),
}
WORDS = {language: tuple(words.split()) for language, words in _WORDS.items()}
_ONSETS: dict[Language, str] = {
    "en": "b bl br c ch cl d dr f fl g gr h j k l m n p pl qu r s sh st t th tr v w wh y z",
    "pl": "b br c cz ć d dz dż f g gł h j k kr l ł m n ń p prz r rz s sz ś św t tr w z ż ź",
    "vi": "b c ch d đ g gi h kh l m n ng nh ph qu r s t th tr v x",
    "ru": "б в г гр д ж з к кл л м н п пр р с ст т тр ф х ц ч ш щ",
}
_CORES: dict[Language, str] = {
    "en": "a e i o u ai ee ea oo ou",
    "pl": "a ą e ę i o ó u y ia ie",
    "vi": "a à á ả ã ạ ă ằ ắ ặ â ầ ấ ậ e é ẹ ê ề ế ệ i í ị o ó ọ ô ồ ố ộ ơ ờ ớ ợ u ú ụ ư ừ ứ ự y ý ươ iê",
    "ru": "а е ё и о у ы э ю я",
}
_CODAS: dict[Language, str] = {
    "en": "b ck d f g ll m n ng nd p r rt s sh st t x",
    "pl": "b c cz ć d g j k l ł m n ń p r s sz ść t w z ż",
    "vi": "c ch m n ng nh p t",
    "ru": "б в г д ж й к л м н ль п р с сть т х ч ш ь ъ",
}
_SPLIT = {
    language: tuple(tuple(table[language].split()) for table in (_ONSETS, _CORES, _CODAS)) for language in LANGUAGES
}
LETTERS: dict[Language, str] = {
    "en": "abcdefghijklmnopqrstuvwxyz",
    "pl": "aąbcćdeęfghijklłmnńoóprsśtuwyzźż",
    "vi": "aàảãáạăằẳẵắặâầẩẫấậbcdđeèẻẽéẹêềểễếệghiìỉĩíịklmnoòỏõóọôồổỗốộơờởỡớợpqrstuùủũúụưừửữứựvxyỳỷỹýỵ",
    "ru": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
}
_MARKS = ".,:;!?-+/()%&@#=*'\"€$"


def word(rng: Random, language: Language) -> str:
    """A real word."""
    return rng.choice(WORDS[language])


def invented(rng: Random, language: Language, syllables: int) -> str:
    """A word that means nothing and could be one; Vietnamese is written syllable by syllable, so it has one."""
    onsets, cores, codas = _SPLIT[language]
    if language == "vi":
        syllables = 1
    text = "".join(rng.choice(onsets) + rng.choice(cores) for _ in range(syllables))
    return text + (rng.choice(codas) if rng.random() < 0.6 else "")


def cased(rng: Random, text: str) -> str:
    """Lower case, capitalised or all capitals, in this order of frequency."""
    draw = rng.random()
    return text if draw < 0.45 else text.capitalize() if draw < 0.75 else text.upper()


def digits(rng: Random, count: int) -> str:
    """A string of decimal digits; zeros may lead."""
    return "".join(rng.choices("0123456789", k=count))


def plate(rng: Random) -> str:
    """A registration plate: letters, then digits, then often a last letter, as in 'KR 7421A'."""
    letters = "".join(rng.choices("ABCDEFGHJKLMNPRSTUWXYZ", k=rng.choice((2, 2, 3))))
    number = digits(rng, rng.choice((3, 4, 4, 5)))
    tail = "".join(rng.choices("ABCDEFGHJKLMNPRSTUWXYZ", k=rng.choice((0, 1, 1, 2)))) if len(number) < 5 else ""
    return f"{letters} {number}{tail}"


def figure(rng: Random) -> str:
    """A number as signs and labels carry them: plain, a price, a time, a date, a percentage."""
    form = rng.randrange(6)
    if form == 0:
        return f"{rng.randrange(1, 200)}.{rng.randrange(100):02d}"
    if form == 1:
        return f"{rng.randrange(24)}:{rng.randrange(60):02d}"
    if form == 2:
        return f"{rng.randrange(1, 29):02d}.{rng.randrange(1, 13):02d}.{rng.randrange(1990, 2040)}"
    if form == 3:
        return f"{rng.randrange(101)}%"
    return digits(rng, rng.randrange(2, 8))


def scramble(rng: Random, length: int, language: Language | None = None) -> str:
    """Letters, digits and marks in no order, of one alphabet or of a random one; neither end is a space."""
    letters = LETTERS[rng.choice(LANGUAGES) if language is None else language]
    pool = letters + letters.upper() + "0123456789" * (1 + len(letters) // 30)
    text = "".join(rng.choices(pool, k=length))
    if length > 3 and rng.random() < 0.35:
        at = rng.randrange(1, length - 1)
        text = text[:at] + rng.choice(_MARKS + "  ") + text[at + 1 :]
    return text


def line(rng: Random, language: Language, *, real: float = 0.35) -> str:
    """A short line, 3-12 characters: real words (with probability `real`), invented ones, figures, or a mix."""
    for _ in range(20):
        text = _line(rng, language, real)
        if 3 <= len(text) <= 12:
            return text
    return word(rng, language)[:12]


def _line(rng: Random, language: Language, real: float) -> str:
    pick = rng.random()
    if pick < real:
        words = word(rng, language), word(rng, language)
        return cased(rng, " ".join(words[: rng.choice((1, 1, 2))]))
    pick = rng.random()
    if pick < 0.55:
        count = 2 if language == "vi" else rng.choice((1, 1, 1, 2))
        return cased(rng, " ".join(invented(rng, language, rng.choice((1, 2, 2, 3))) for _ in range(count)))
    if pick < 0.75:
        return figure(rng)
    if pick < 0.85:
        return f"{cased(rng, invented(rng, language, 2))} {digits(rng, rng.choice((1, 2, 3)))}"
    return scramble(rng, rng.randrange(3, 9), language)
