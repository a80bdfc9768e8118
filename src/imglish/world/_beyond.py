"""Questions that no picture of this world can answer, and the honest answer to them.

Also the names of things that never occur here: asked whether there is one, the answer is no; asked to find one,
nothing.
"""

from __future__ import annotations

from random import Random

from imglish.world._forms import Table, wordings
from imglish.world._scene import Language, Wording
from imglish.world._unanswerable import ENGLISH

UNKNOWN: dict[Language, str] = {
    "en": "I don't know.",
    "pl": "Nie wiem.",
    "vi": "Tôi không biết.",
    "ru": "Я не знаю.",
}

TABLE: Table = {
    "unknown": {
        "en": ENGLISH
        + "What is the capital of France?|Who is the president of the United States?|Who painted this picture?|"
        "When was this photo taken?|Where was this picture taken?|What is the weather like in London today?|"
        "How old is the owner of this?|What will happen next?|What is the name of the person?|Who won the World Cup?|"
        "How much does this cost?|What is the meaning of life?|Translate this into Japanese.|Write me a poem.|"
        "What is 17 times 23?|Which company made this?|How heavy is it?|What is it made of?|What does it smell like?|"
        "What happened before this?|Why is this funny?|Is this person happy?|What time is it?|"
        "Could this be a politician?|"
        "What breed is this animal?|Which city is this?|What is the phone number?|How tall is the mountain?|"
        "Who wrote Hamlet?|What is the best restaurant nearby?|Tell me a joke.|Which disease does the patient have?|"
        "What is the speed of light?|What language do people speak in Brazil?|What is your name?|How do I cook rice?|"
        "Who is the king of Spain?|Which river flows through Cairo?|How many people live in Canada?|"
        "When did the war end?|Who discovered penicillin?|How old is the universe?|"
        "What is the boiling point of water?|Who sings this song?|Which team plays here?|"
        "What will he do tomorrow?|Why did they leave?|Who is standing behind the camera?|"
        "What is the temperature outside?|Which day of the week was it?|How long did it take to draw this?|"
        "What was the artist thinking?|Which camera was used?|Whose birthday is it?|How deep is the ocean?|"
        "What is the largest planet?|Solve the equation.|Add 48 and 29.|What is half of ninety?|"
        "How do you say hello in Spanish?|Spell my name.|Summarise the news of today.|"
        "Give me a recipe for soup.|Recommend a good book.|Sing something.|Who are you?|Are you a human?|"
        "Can you drive?|What should I do with my life?|Which stock should I buy?|Is my diagnosis serious?|"
        "What drug helps against this?|Is this person guilty?|How rich is the person?|What is her name?|"
        "Where does he live?|Which country does it come from?|What does it taste like?|How does it sound?|"
        "Is it warm to the touch?|Is it expensive?|Who made it and when?|Which brand is it?|"
        "What model of car is it?|How fast does it go?|What is its serial number?|Which airport is this?|"
        "What street is this?|Which season is it?|Is it morning or evening?|What did the weather do before?|"
        "What is inside the box?|Who will win the election?|How many stars does the hotel have?|"
        "Which museum has this painting?|What style is this painting?|Which century is it from?|"
        "What is the email address?|What's the password?|Who called me?|Do you love me?|Why is the sky blue?|"
        "How do birds fly?|Explain gravity.|What is democracy?|Define happiness.|"
        "Which film is this from?|What did she say?|What is behind the wall?|Is it safe to eat this?||"
        "What is the capital of Japan?|Who took this photograph?|In which year was the artist born?|"
        "How far is the moon?|"
        "Who owns this?|Which song is playing?|What is the square root of two?|Will it rain tomorrow?|"
        "Which famous person is this?|How much is the ticket?",
        "pl": "Jaka jest stolica Francji?|Kto namalował ten obraz?|Kiedy zrobiono to zdjęcie?|Gdzie to jest?|"
        "Jaka będzie jutro pogoda?|Ile to kosztuje?|Kto jest prezydentem Polski?|Jaki jest sens życia?|"
        "Napisz mi wiersz.|Z czego to jest zrobione?|Ile to waży?|Co się stanie potem?|Kto napisał „Pana Tadeusza”?|"
        "Która jest godzina?|Kto jest królem Hiszpanii?|Ile lat ma wszechświat?|Jak się nazywasz?|"
        "Ile to jest 12 razy 7?|Opowiedz mi dowcip.|Jakie to miasto?|Co było wcześniej?|"
        "Czy on jest szczęśliwy?|Jak to smakuje?|Dlaczego niebo jest niebieskie?|Kto wygra wybory?|"
        "Gdzie ona mieszka?|Jaki jest numer telefonu?|"
        "Ile lat ma ta osoba?||Jaka jest stolica Japonii?|Kto zrobił to zdjęcie?|Kto jest właścicielem?|"
        "Czy jutro spadnie deszcz?",
        "vi": "Thủ đô của Pháp là gì?|Ai đã vẽ bức tranh này?|Bức ảnh này chụp khi nào?|Đây là thành phố nào?|"
        "Ngày mai thời tiết thế nào?|Cái này giá bao nhiêu?|Ai là tổng thống Mỹ?|Ý nghĩa cuộc sống là gì?|"
        "Hãy viết một bài thơ.|Nó làm bằng gì?|Nó nặng bao nhiêu?|Chuyện gì sẽ xảy ra tiếp theo?|"
        "Bây giờ là mấy giờ?|Vua Tây Ban Nha là ai?|Vũ trụ bao nhiêu tuổi?|Tên bạn là gì?|"
        "12 nhân 7 bằng bao nhiêu?|Kể một câu chuyện cười đi.|Trước đó đã xảy ra chuyện gì?|"
        "Anh ấy có vui không?|Nó có vị gì?|Vì sao trời xanh?|Ai sẽ thắng cử?|Cô ấy sống ở đâu?|"
        "Số điện thoại là gì?|"
        "Người này bao nhiêu tuổi?||"
        "Thủ đô của Nhật Bản là gì?|Ai đã chụp bức ảnh này?|Ngày mai có mưa không?",
        "ru": "Какая столица Франции?|Кто нарисовал эту картину?|Когда сделана эта фотография?|Какой это город?|"
        "Какая завтра погода?|Сколько это стоит?|Кто президент США?|В чём смысл жизни?|Напиши мне стихотворение.|"
        "Из чего это сделано?|Сколько это весит?|Что будет дальше?|Кто написал «Войну и мир»?|"
        "Который час?|Кто король Испании?|Сколько лет вселенной?|Как тебя зовут?|Сколько будет 12 на 7?|"
        "Расскажи шутку.|Что было до этого?|Он счастлив?|Какое это на вкус?|Почему небо голубое?|"
        "Кто победит на выборах?|Где она живёт?|Какой номер телефона?|"
        "Сколько лет этому человеку?||"
        "Какая столица Японии?|Кто сделал этот снимок?|Кто владелец?|Будет ли завтра дождь?",
    },
    "foreign": {  # Russian and Vietnamese names need no article; English ones take theirs from their first letter
        "en": "dog|elephant|banana|bicycle|spoon|chair|lion|train|guitar|person|bird|table|bus|pizza|shoe|"
        "tiger|clock|spider|carrot|sofa|window|bridge|robot|snake||giraffe|zebra|piano|sandwich|truck|lamp|bear",
        "pl": "pies|słoń|banan|rower|łyżka|krzesło|lew|pociąg|gitara|ptak|stół||żyrafa|fortepian|kanapka",
        "vi": "con chó|con voi|quả chuối|xe đạp|cái thìa|cái ghế|sư tử|tàu hỏa|đàn ghi ta|con chim||hươu cao cổ|"
        "đàn piano|"
        "xe tải",
        "ru": "собака|слон|банан|велосипед|ложка|стул|лев|поезд|гитара|птица|стол||жираф|рояль|бутерброд",
    },
}


def question(rng: Random, language: Language, wording: Wording) -> tuple[str, str]:
    """A question from outside the world, and the answer."""
    return rng.choice(wordings(TABLE, "unknown", language, wording)), UNKNOWN[language]


def foreign(rng: Random, language: Language, wording: Wording) -> str:
    """The name of a thing that no scene has."""
    return rng.choice(wordings(TABLE, "foreign", language, wording))
