"""The words of `part`: materials and defects in four languages, and the ways to ask about them."""

from __future__ import annotations

from imglish.world._forms import Table
from imglish.world._scene import Language

# "" is the sound surface's answer to "which defect?"
NAMES: dict[Language, dict[str, str]] = {
    "en": {
        "scratch": "scratch",
        "hole": "hole",
        "stain": "stain",
        "crack": "crack",
        "dent": "dent",
        "defect": "defect",
        "": "none",
        "metal": "metal",
        "fabric": "fabric",
        "wood": "wood",
        "concrete": "concrete",
    },
    "pl": {
        "scratch": "rysa",
        "hole": "dziura",
        "stain": "plama",
        "crack": "pęknięcie",
        "dent": "wgniecenie",
        "defect": "wada",
        "": "brak",
        "metal": "metal",
        "fabric": "tkanina",
        "wood": "drewno",
        "concrete": "beton",
    },
    "vi": {
        "scratch": "vết xước",
        "hole": "lỗ thủng",
        "stain": "vết bẩn",
        "crack": "vết nứt",
        "dent": "vết lõm",
        "defect": "lỗi",
        "": "không có",
        "metal": "kim loại",
        "fabric": "vải",
        "wood": "gỗ",
        "concrete": "bê tông",
    },
    "ru": {
        "scratch": "царапина",
        "hole": "дыра",
        "stain": "пятно",
        "crack": "трещина",
        "dent": "вмятина",
        "defect": "дефект",
        "": "нет",
        "metal": "металл",
        "fabric": "ткань",
        "wood": "дерево",
        "concrete": "бетон",
    },
}
# the answer of a caption by detail; {material} and {defect} stand in the nominative in every language
SOUND: dict[Language, tuple[str, str, str]] = {
    "en": (
        "A sound surface.",
        "A {material} surface without a defect.",
        "This is a {material} surface. It has no scratch, hole, stain, crack or dent.",
    ),
    "pl": (
        "Powierzchnia bez wad.",
        "Powierzchnia bez wad. Materiał: {material}.",
        "Materiał: {material}. Nie widać żadnej wady: ani rysy, ani dziury, ani plamy, ani pęknięcia.",
    ),
    "vi": (
        "Bề mặt không có lỗi.",
        "Bề mặt {material} không có lỗi.",
        "Đây là bề mặt {material}. Không có vết xước, lỗ thủng, vết bẩn, vết nứt hay vết lõm.",
    ),
    "ru": (
        "Поверхность без дефектов.",
        "Поверхность без дефектов. Материал: {material}.",
        "Материал: {material}. Дефектов не видно: ни царапин, ни дыр, ни пятен, ни трещин, ни вмятин.",
    ),
}
SPOILT: dict[Language, tuple[str, str, str]] = {
    "en": (
        "A surface with {defect}.",
        "A {material} surface with {defect}.",
        "This is a {material} surface with a defect: {defect} in the {where}.",
    ),
    "pl": (
        "Powierzchnia z wadą: {defect}.",
        "Powierzchnia z wadą: {defect}. Materiał: {material}.",
        "Materiał: {material}. Widać wadę: {defect}, {where}.",
    ),
    "vi": (
        "Bề mặt có {defect}.",
        "Bề mặt {material} có {defect}.",
        "Đây là bề mặt {material} có lỗi: {defect} ở {where}.",
    ),
    "ru": (
        "Поверхность с дефектом: {defect}.",
        "Поверхность с дефектом: {defect}. Материал: {material}.",
        "Материал: {material}. Виден дефект: {defect}, {where}.",
    ),
}
# where on the picture, by row (top, middle, bottom) and column (left, centre, right)
PLACES: dict[Language, tuple[tuple[str, str, str], tuple[str, str, str], tuple[str, str, str]]] = {
    "en": (
        ("top left", "top", "top right"),
        ("left", "middle", "right"),
        ("bottom left", "bottom", "bottom right"),
    ),
    "pl": (
        ("u góry po lewej", "u góry", "u góry po prawej"),
        ("po lewej", "na środku", "po prawej"),
        ("u dołu po lewej", "u dołu", "u dołu po prawej"),
    ),
    "vi": (
        ("góc trên bên trái", "phía trên", "góc trên bên phải"),
        ("bên trái", "giữa", "bên phải"),
        ("góc dưới bên trái", "phía dưới", "góc dưới bên phải"),
    ),
    "ru": (
        ("вверху слева", "вверху", "вверху справа"),
        ("слева", "в середине", "справа"),
        ("внизу слева", "внизу", "внизу справа"),
    ),
}

TABLE: Table = {
    "defect": {
        "en": "Is there a defect?|Does this surface have a defect?|Is the part damaged?|"
        "Is anything wrong with this surface?|Do you see a defect?|Is there any damage?|"
        "Is this part faulty?|Can you find a defect on this surface?|Is the surface flawed?|"
        "Has this surface been damaged?|Do you see any damage on this part?|Is this surface defective?|"
        "Are there any flaws here?||Does this have any defect?|"
        "Check this for damage: is it faulty or not?|Can you see a flaw here?",
        "pl": "Czy jest tu wada?|Czy powierzchnia jest uszkodzona?|Czy widać jakąś wadę?|Czy ta część jest wadliwa?|"
        "Czy coś jest nie tak z tą powierzchnią?||Czy widać uszkodzenie?|Czy ta powierzchnia ma wadę?",
        "vi": "Có lỗi không?|Bề mặt này có lỗi không?|Bộ phận này có bị hỏng không?|Bạn có thấy lỗi nào không?|"
        "Bề mặt có khuyết tật không?||Có hư hỏng nào không?|Bề mặt này có bị hỏng không?",
        "ru": "Есть ли дефект?|Повреждена ли поверхность?|Виден ли какой-нибудь дефект?|Есть ли повреждения?|"
        "Эта деталь бракованная?||Видны ли повреждения?|Есть ли на поверхности дефект?",
    },
    "which": {
        "en": "Which defect is it?|Which defect does the surface have?|What kind of defect is there?|"
        "What is wrong with this surface?|Name the defect.|What damage do you see?|"
        "What type of damage is this?|What is the defect?|Which kind of damage is there?|"
        "What defect can be seen here?|Classify the defect.||What kind of defect do you see?|"
        "Tell me the type of damage.|Name the flaw shown here, please.|What sort of fault is this?",
        "pl": "Jaka to wada?|Jaki rodzaj wady ma ta powierzchnia?|Nazwij wadę.|Jakie uszkodzenie widać?|"
        "Co jest nie tak z tą powierzchnią?||Jaką wadę widać?|Jaki to rodzaj uszkodzenia?",
        "vi": "Đó là lỗi gì?|Bề mặt có lỗi gì?|Loại lỗi nào?|Hãy gọi tên lỗi.|Bề mặt này bị hỏng như thế nào?||"
        "Bạn thấy lỗi gì?|Đây là loại lỗi gì?",
        "ru": "Какой это дефект?|Какой дефект у поверхности?|Назови дефект.|Какое повреждение видно?|"
        "Что не так с этой поверхностью?||Какой дефект виден?|Какой вид повреждения?",
    },
    "material": {
        "en": "What material is this?|What is this surface made of?|Name the material.|"
        "Which material is shown?|Which material do you see?||What is this made of?|"
        "Name the material in the picture.|Which material am I looking at?|"
        "Could you tell me what material it is?",
        "pl": "Jaki to materiał?|Z czego jest ta powierzchnia?|Nazwij materiał.|Jaki materiał widać?||"
        "Jaki materiał tu widać?",
        "vi": "Đây là vật liệu gì?|Bề mặt này làm bằng gì?|Hãy gọi tên vật liệu.|Vật liệu nào trong ảnh?||"
        "Bạn thấy vật liệu gì?",
        "ru": "Какой это материал?|Из чего сделана поверхность?|Назови материал.|Какой материал показан?||"
        "Какой материал здесь виден?",
    },
    "detect": {
        "en": "Find every {name}.|Detect: {name}.|Mark each {name}.|Show all of: {name}.|Where is the {name}?|"
        "Detect the {name}.|Draw a box around each {name}.|Find the {name} on this surface.|"
        "Inspect the part and mark each {name}.|Is there a {name}? Mark it.|Locate: {name}.|"
        "Put a box on every {name}.|Point out each {name}.||Locate all instances of {name}.|"
        "Can you mark each {name} you see?|Please show me where every single {name} is.|"
        "Detect all defects of the type {name}.",
        "pl": "Znajdź: {name}.|Wykryj: {name}.|Zaznacz: {name}.|Pokaż: {name}.|Gdzie jest {name}?||Zlokalizuj: {name}.",
        "vi": "Tìm {name}.|Phát hiện {name}.|Đánh dấu {name}.|Chỉ ra {name}.|{name} ở đâu?||Xác định vị trí {name}.",
        "ru": "Найди: {name}.|Обнаружь: {name}.|Отметь: {name}.|Покажи: {name}.|Где {name}?||Где находится: {name}?",
    },
    "ground": {
        "en": "the {name}|{name}|the {name} on the surface|where the {name} is|Where is the {name}?|"
        "find the {name}|the {name} on this part|the place of the {name}|the visible {name}|"
        "Show me the {name}.|the spot with the {name}||Locate the {name}.|"
        "Can you show me where the {name} is?|Point out the position of the {name}, please.|"
        "Where exactly do you see the {name}? Mark it with a box.",
        "pl": "{name}|{name} na powierzchni|widoczna tu {name}|miejsce: {name}||gdzie jest {name}",
        "vi": "{name}|{name} trên bề mặt|chỗ có {name}|{name} trong ảnh||nơi có {name}",
        "ru": "{name}|{name} на поверхности|место: {name}|{name} на снимке||где {name}",
    },
}
