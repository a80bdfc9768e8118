"""How one asks about text in a picture, in four languages (see `_forms` for the shape)."""

from imglish.world._forms import Table
from imglish.world._scene import Language

NAMES: dict[Language, dict[Language, str]] = {  # the language named by the outer key's speakers
    "en": {"en": "English", "pl": "Polish", "vi": "Vietnamese", "ru": "Russian"},
    "pl": {"en": "angielski", "pl": "polski", "vi": "wietnamski", "ru": "rosyjski"},
    "vi": {"en": "tiếng Anh", "pl": "tiếng Ba Lan", "vi": "tiếng Việt", "ru": "tiếng Nga"},
    "ru": {"en": "английский", "pl": "польский", "vi": "вьетнамский", "ru": "русский"},
}

TABLE: Table = {
    "read": {
        "en": "Read the text.|Read all the text in the picture.|What is written here?|Transcribe the text.|"
        "Read every line.|Write down all the text you can see.|Copy out the text.|What text is there?|"
        "Read it.|Give me the text of this image.|Tell me everything that is written here.|"
        "Can you read this to me?|Which words are in the image?||Transcribe everything written here.|"
        "What is written in the picture?|Could you read out all the text for me?|"
        "Give me the full text in this image.",
        "pl": "Przeczytaj tekst.|Odczytaj cały tekst z obrazka.|Co tu jest napisane?|Przepisz tekst.|"
        "Przeczytaj wszystkie linie.|Jaki tekst widać na obrazku?||Jakie słowa tu widnieją?|Czy możesz to odczytać?",
        "vi": "Đọc văn bản.|Hãy đọc tất cả chữ trong ảnh.|Ở đây viết gì?|Chép lại văn bản.|Đọc từng dòng.|"
        "Trong ảnh có chữ gì?||Bạn đọc giúp tôi dòng chữ này.|Những từ nào có trong hình?",
        "ru": "Прочитай текст.|Прочитай весь текст на картинке.|Что здесь написано?|Перепиши текст.|"
        "Прочитай все строки.|Какой текст на картинке?||Какие слова здесь видны?|Можешь это прочитать?",
    },
    "single": {
        "en": "What does it say?|What does the text say?|What is the word?|What is written in the picture?|"
        "Which text do you see?|What does this say?|What is the text?|What do the letters spell?|"
        "Read the inscription.|What do you read here?|Spell out what is written.|"
        "What is the inscription?||What is written here?|Tell me what this says.|"
        "Can you read this to me?|Please read what it says here.",
        "pl": "Co jest napisane?|Jaki to napis?|Jaki tekst widzisz?|Co głosi napis?|Odczytaj napis.||"
        "Jak brzmi ten napis?|Co tu czytasz?",
        "vi": "Chữ gì đây?|Dòng chữ này viết gì?|Bạn thấy chữ gì?|Văn bản viết gì?|Trong ảnh viết gì?||"
        "Dòng chữ ghi gì?|Từ trong hình là gì?",
        "ru": "Что написано?|Какая это надпись?|Какой текст ты видишь?|Что гласит надпись?|Прочти надпись.||"
        "Какое слово на картинке?|Что тут можно прочесть?",
    },
    "line": {
        "en": "What does line {n} say?|Read line {n}.|What is written in line {n}?|What is line {n}?|"
        "Which text is in line {n}?|Give me line {n}.|What do you read in line {n}?|Line {n}, please.|"
        "Tell me what line number {n} says.|What stands in row {n}?|Can you read line {n}?||"
        "Read me line {n}.|Text of line {n}, please.|Could you tell me what line number {n} says?",
        "pl": "Co jest w linii {n}?|Przeczytaj linię {n}.|Co jest napisane w linii {n}?|Jaki tekst jest w linii {n}?||"
        "Co zawiera wiersz {n}?",
        "vi": "Dòng {n} viết gì?|Đọc dòng {n}.|Dòng {n} là gì?|Ở dòng {n} có chữ gì?||Dòng số {n} ghi gì?",
        "ru": "Что написано в строке {n}?|Прочитай строку {n}.|Какой текст в строке {n}?|Что в строке {n}?||"
        "Что стоит в строке номер {n}?",
    },
    "last": {
        "en": "What does the last line say?|Read the last line.|What is written in the bottom line?|"
        "What is at the bottom?|Which text comes last?||Read me the final line.|"
        "Text of the last line, please.|Could you tell me how the last line reads?",
        "pl": "Co jest w ostatniej linii?|Przeczytaj ostatnią linię.|Co jest napisane na dole?|"
        "Jaki jest ostatni napis?||Co czytasz na samym dole?",
        "vi": "Dòng cuối viết gì?|Đọc dòng cuối cùng.|Chữ ở dưới cùng là gì?|Dòng dưới cùng viết gì?||"
        "Dòng sau cùng ghi gì?",
        "ru": "Что написано в последней строке?|Прочитай последнюю строку.|Что написано внизу?|"
        "Какая последняя надпись?||Что можно прочесть в самом низу?",
    },
    "plate": {
        "en": "What is the plate number?|What does the plate say?|Read the plate.|"
        "What is the registration number?|Which number is on the plate?|Give me the licence plate.|"
        "What is written on the plate?|What registration is this?|What is the car's number?|"
        "Tell me the licence plate number.|Which plate is it?||Read the licence plate.|"
        "What does the number plate say?|Which registration is on this plate?|"
        "License plate number, please.",
        "pl": "Jaki jest numer tablicy?|Co jest na tablicy?|Odczytaj tablicę.|Jaki to numer rejestracyjny?|"
        "Podaj numer rejestracyjny.||Jaką rejestrację widać?",
        "vi": "Biển số là gì?|Đọc biển số.|Trên biển số viết gì?|Số đăng ký xe là gì?|Cho tôi biết biển số.||"
        "Xe này mang biển số nào?",
        "ru": "Какой номер на табличке?|Что написано на номерном знаке?|Прочитай номер.|Какой регистрационный номер?|"
        "Назови номерной знак.||Какой номер у машины?",
    },
    "any": {
        "en": "Is there any text in the picture?|Is there text?|Do you see any writing?|"
        "Does the image contain text?|Are there any letters in the picture?|Is something written here?|"
        "Can any text be read?|Is there writing?|Has anything been written here?|"
        "Do any words appear in the image?|Would there be text to read?||"
        "Does this image contain any writing?|Can you see any words here?|"
        "Tell me whether there is something written in the picture.|Any text in this image, yes or no?",
        "pl": "Czy na obrazku jest tekst?|Czy jest tu tekst?|Czy widzisz jakiś napis?|Czy coś tu jest napisane?||"
        "Czy są tu jakieś litery?",
        "vi": "Trong ảnh có chữ không?|Có văn bản không?|Bạn có thấy chữ nào không?|Ở đây có viết gì không?||"
        "Hình này có chữ cái nào không?",
        "ru": "На картинке есть текст?|Есть ли здесь текст?|Ты видишь надпись?|Здесь что-нибудь написано?||"
        "Есть ли тут буквы?",
    },
    "language": {
        "en": "Which language is the text in?|What language is this?|In what language is it written?|"
        "Name the language of the text.|What is the language of the words?|"
        "Which language do you read here?|What language are these words?|Tell me the language.|"
        "Do you know which language this is?|The words are from which language?|"
        "What tongue is it written in?||What language is this written in?|"
        "Tell me the language of the text.|Can you identify which language this is?|"
        "Language of the writing, please.",
        "pl": "Jaki to język?|W jakim języku jest tekst?|Jaki jest język tekstu?|Podaj język napisu.||"
        "Jakim językiem to napisano?",
        "vi": "Văn bản viết bằng tiếng gì?|Đây là tiếng gì?|Ngôn ngữ của văn bản là gì?|Chữ này là tiếng nước nào?||"
        "Những từ này thuộc ngôn ngữ nào?",
        "ru": "На каком языке текст?|Какой это язык?|На каком языке это написано?|Назови язык надписи.||"
        "Слова какого языка здесь написаны?",
    },
    "lines": {
        "en": "How many lines of text are there?|How many lines are there?|Count the lines of text.|"
        "What is the number of lines?|On how many lines is the text?||How many lines does the text have?|"
        "Number of text lines?|Could you tell me how many lines are written here?",
        "pl": "Ile jest linii tekstu?|Ile jest linii?|Policz linie tekstu.|Jaka jest liczba linii?||"
        "W ilu liniach jest tekst?",
        "vi": "Có bao nhiêu dòng chữ?|Có mấy dòng?|Đếm số dòng chữ.|Số dòng là bao nhiêu?||Văn bản gồm mấy dòng?",
        "ru": "Сколько строк текста?|Сколько здесь строк?|Посчитай строки текста.|Каково число строк?||"
        "Во сколько строк написан текст?",
    },
}
