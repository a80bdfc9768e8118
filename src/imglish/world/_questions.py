"""How one asks about things in a picture, in four languages (see `_forms` for the shape).

Slots: {x} and {y} a thing in the nominative, {a} with its article, {xs} its plural, {is} and {Is} the verb that goes
with it, {relation} "left of", {colour} a colour, {list} several things.
"""

from imglish.world._captioning import ENGLISH
from imglish.world._forms import Table

TABLE: Table = {
    "colour": {
        "en": "What colour {is} the {x}?|What color {is} the {x}?|Which colour does the {x} have?|"
        "The {x}: what colour?|What is the colour of the {x}?|What is the color of the {x}?|"
        "Tell me the colour of the {x}.|Name the colour of the {x}.|In which colour {is} the {x} drawn?|"
        "{Is} the {x} red, blue or which colour?|Colour of the {x}?|I see the {x}. What color {is} it?|"
        "Say which colour the {x} {is}.|Do you know what color the {x} {is}?|"
        "What's the colour of the {x}?|What's the color of the {x}?|Which color {is} the {x}?|"
        "Which colour {is} the {x}?|Can you tell me the color of the {x}?|"
        "Could you name the colour of the {x}?|The {x} {is} of which colour?|"
        "I want to know the colour of the {x}.|Describe the color of the {x} in one word.|"
        "Look at the {x}: which color do you see?|What shade {is} the {x}?|"
        "Please tell me what colour the {x} {is}.|How {is} the {x} coloured?|"
        "Which color has been given to the {x}?|What colour was the {x} painted in?|{x}: color?|"
        "color of {x}|Could you say what colour the {x} {is}?|Which color was used for the {x}?|"
        "How would you describe the colour of the {x}?||The {x} {is} what color?|"
        "Which colour do you see on the {x}?|Color of the {x}, please.",
        "pl": "Jakiego koloru {is} {x}?|W jakim kolorze {is} {x}?|{x}: jaki to kolor?|Podaj kolor: {x}.|"
        "Jaki kolor widzisz, gdy patrzysz na przedmiot: {x}?|Kolor przedmiotu {x}?|"
        "Czy wiesz, jakiego koloru {is} {x}?|Jaki kolor ma {x}?|Określ kolor: {x}.|Nazwij barwę: {x}.||"
        "Powiedz, jakiego koloru {is} {x}.|Jaką barwę ma przedmiot: {x}?",
        "vi": "{x} có màu gì?|Màu của {x} là gì?|{x} màu gì?|Hãy cho biết màu của {x}.|Cho tôi biết {x} có màu nào.|"
        "Màu sắc của {x}?|"
        "{x} mang màu nào?|{x} được vẽ bằng màu gì?|Nói màu của {x}.||Bạn thấy {x} mang màu gì?|{x} được tô màu nào?",
        "ru": "Какого цвета {x}?|Какого цвета здесь {x}?|{x}: какой цвет?|Назови цвет: {x}.|"
        "Какой цвет у предмета {x}?|Скажи, какого цвета {x}.|"
        "Какой цвет имеет {x}?|Знаешь ли ты, какого цвета {x}?|Определи цвет: {x}.||В какой цвет окрашен предмет: {x}?|"
        "Какого же цвета {x} на картинке?",
    },
    "presence": {
        "en": "{Is} there {a}?|{Is} there {a} in the picture?|{Is} there {a} in the image?|Do you see {a}?|"
        "Can you see {a}?|Does the picture show {a}?|Does the image contain {a}?|{Is} {a} visible?|"
        "Can {a} be seen here?|Is it true that there {is} {a}?|Any {x} here?|"
        "Does {a} appear in this image?|Have you seen {a} here?|Would you say there {is} {a}?|"
        "Does the scene show {a}?|Does this picture include {a}?|Could you spot {a}?|"
        "Can I find {a} here?|{Is} {a} in this picture?|{Is} {a} part of the scene?|"
        "Tell me whether there {is} {a}.|Do you notice {a}?|I am looking for {a}. {Is} it there?|"
        "There {is} {a}, right?|Check for {a}: yes or no?|{a}: yes or no?|Has anyone drawn {a} here?|"
        "Would one see {a} in the image?|Would I find {a} in this picture?|Have you spotted {a}?|"
        "Does the scene include {a}?||Can you see {a} in this image?|{Is} {a} anywhere in the picture?|"
        "Check whether the image contains {a}, yes or no.",
        "pl": "Czy {is} tu {x}?|Czy na obrazku {is} {x}?|Czy widać tu przedmiot: {x}?|Czy w tym obrazie {is} {x}?|"
        "{x} – czy to tu {is}?|Czy {is} tutaj {x}?|"
        "Czy obraz zawiera przedmiot: {x}?|Czy widzisz, że {is} tu {x}?|Czy znajdę tu przedmiot: {x}?||"
        "Czy gdzieś na obrazku {is} {x}?|"
        "Czy obrazek przedstawia przedmiot: {x}?",
        "vi": "Có {x} không?|Trong ảnh có {x} không?|Bạn có thấy {x} không?|Hình này có {x} không?|"
        "Ở đây có {x} không?|Có {x} nào trong hình không?|"
        "Hình có vẽ {x} không?|Có thấy {x} ở đâu không?||Bức tranh có {x} hay không?|Liệu có {x} ở đây không?",
        "ru": "Есть ли здесь {x}?|На картинке есть {x}?|Есть ли на изображении {x}?|Здесь есть {x}?|"
        "Видишь ли ты, что здесь есть {x}?|Тут есть {x}?|"
        "Изображён ли здесь предмет: {x}?|Видно ли, что тут есть {x}?||"
        "Присутствует ли на картинке {x}?|Найдётся ли здесь {x}?",
    },
    "count": {
        "en": "How many {xs} are there?|How many {xs} are in the picture?|How many {xs} do you see?|"
        "Count the {xs}.|What is the number of {xs}?|How many {xs} can you see?|Number of {xs}?|"
        "How many {xs} does the image show?|Please count the {xs}.|How many {xs}?|"
        "Tell me how many {xs} there are.|Count {xs} in the image.|How many {xs} appear?|"
        "How many {xs} have you found?|Say how many {xs} you see.|What's the number of {xs} here?|"
        "Could you tell me how many {xs} there are?|How many {xs} were drawn?|Do count the {xs}, please.|"
        "The number of {xs}, please.|{xs}: how many?|Give me the count of {xs}.|How often do {xs} occur?|"
        "What number of {xs} appears here?|How many {xs} have been drawn?|Could you count all the {xs}?||"
        "What number of {xs} does the picture show?|Number of {xs} in this image?|"
        "Could you tell me how many {xs} you see?",
        "pl": "Ile razy występuje tu {x}?|Policz: {x}.|Ile sztuk: {x}?|Ile razy widzisz tu przedmiot: {x}?|"
        "Podaj liczbę: {x}.||Ile razy na obrazku pojawia się {x}?",
        "vi": "Có bao nhiêu {x}?|Có mấy {x}?|Trong ảnh có bao nhiêu {x}?|Đếm số {x}.|Số lượng {x} là bao nhiêu?|"
        "Bạn thấy mấy {x}?||Hãy đếm xem có bao nhiêu {x}.",
        "ru": "Сколько здесь таких предметов: {x}?|Посчитай: {x}.|Сколько раз здесь встречается {x}?|"
        "Сколько раз нарисовано: {x}?|Назови количество: {x}.||Сколько раз на картинке появляется {x}?",
    },
    "count_all": {
        "en": "How many things are there?|How many objects are in the picture?|How many objects do you see?|"
        "Count the objects.|Count everything.|How many items are shown?|How many things do you see?|"
        "What is the number of objects?|How many shapes and objects are there in total?|"
        "Count all things in the image.|How many things are in the image altogether?|"
        "What's the total number of things?|Could you count everything?|"
        "How many items does the picture show?|Say how many objects there are.|Total number of objects?|"
        "How many objects in all?|How many things does this picture hold altogether?|"
        "Could you count the objects?|What is the total number of items?||"
        "How many objects does the picture show in total?|Count all the objects.|"
        "Could you tell me how many objects you see altogether?",
        "pl": "Ile jest przedmiotów?|Ile rzeczy jest na obrazku?|Policz przedmioty.|Ile przedmiotów widzisz?|"
        "Ile tu wszystkiego jest?||Ile rzeczy można tu naliczyć?",
        "vi": "Có bao nhiêu vật?|Trong ảnh có bao nhiêu đồ vật?|Đếm số đồ vật.|Bạn thấy bao nhiêu vật?|"
        "Có tất cả mấy vật?||Tổng số đồ vật trong hình là bao nhiêu?",
        "ru": "Сколько здесь предметов?|Сколько предметов на картинке?|Посчитай предметы.|Сколько вещей ты видишь?|"
        "Сколько всего предметов?||Сколько предметов можно насчитать на картинке?",
    },
    "count_colour": {
        "en": "How many {colour} things are there?|How many things are {colour}?|"
        "How many {colour} objects do you see?|Count the {colour} things.|How many objects are {colour}?|"
        "Count everything that is {colour}.|How many {colour} items are in the picture?|"
        "What is the number of {colour} objects?|How many of them are {colour}?|"
        "How many {colour} ones are there?|How many of the things were drawn in {colour}?|"
        "Of the objects, how many are {colour}?|Could you count what is {colour}?|"
        "What's the number of {colour} things?|How many things have the colour {colour}?|"
        "Say how many {colour} objects there are.|Of all the things, how many are {colour}?|"
        "How many objects were drawn in {colour}?|Could you count the {colour} objects?||"
        "How many of the objects have the colour {colour}?|Number of {colour} objects?|"
        "Could you tell me how many {colour} objects you see?",
        "pl": "Ile przedmiotów ma kolor {colour}?|Ile rzeczy ma kolor {colour}?|Policz przedmioty w kolorze: {colour}.|"
        "Ile jest przedmiotów w kolorze: {colour}?||Ile rzeczy tutaj ma kolor {colour}?",
        "vi": "Có bao nhiêu vật màu {colour}?|Có mấy đồ vật màu {colour}?|Đếm các vật màu {colour}.|"
        "Bao nhiêu vật có màu {colour}?||Số đồ vật màu {colour} là bao nhiêu?",
        "ru": "Сколько предметов имеют цвет: {colour}?|Сколько здесь вещей такого цвета: {colour}?|"
        "Посчитай предметы, цвет которых {colour}.|Сколько предметов, у которых цвет {colour}?||"
        "У скольких предметов цвет {colour}?",
    },
    "caption_brief": {
        "en": ENGLISH["caption_brief"]
        + "Describe the picture briefly.|Give a short caption.|What is in the picture?|What do you see?|"
        "Caption this image in a few words.|Name what is shown.|Summarise the image.|"
        "A brief description, please.|In short, what is here?|Describe it in one short sentence.|"
        "What does this show, in a nutshell?|Write a very short caption.|Say in few words what you see.||"
        "Sum up this image in one short sentence.|In a few words, what does the picture show?|"
        "Short caption, please.|Can you give me a very brief description of this photo?",
        "pl": "Opisz obrazek krótko.|Podaj krótki podpis.|Co jest na obrazku?|Co widzisz?|W skrócie: co tu jest?||"
        "Powiedz w kilku słowach, co widać.",
        "vi": "Mô tả ngắn gọn bức tranh.|Cho một chú thích ngắn.|Trong ảnh có gì?|Bạn thấy gì?|Tóm tắt bức ảnh.||"
        "Nói vài lời về bức hình này.",
        "ru": "Опиши картинку кратко.|Дай короткую подпись.|Что на картинке?|Что ты видишь?|Коротко: что здесь?||"
        "Скажи в двух словах, что видно.",
    },
    "caption": {
        "en": ENGLISH["caption"]
        + "Describe the picture.|Describe the image.|Describe this.|Write a caption.|Caption this image.|"
        "What does the image show?|What is shown here?|Tell me what you see.|"
        "Give me a description of this picture.|What can be seen in the image?|"
        "Say what is in this image.|How would you describe this picture?|Put this picture into words.|"
        "What is going on in this image?|Please describe this picture.|Describe what you see.|What is in this picture?|"
        "Please write a caption.|Give the image a caption.|Tell me about this picture.|Describe the scene.|"
        "Say what the picture shows.|Could you say what this picture shows?|What do we have here?|"
        "Explain what is visible.|What can you see?|Tell me about the image.|Can you describe the image?|"
        "Write down what you see.|What would you say about this picture?|I cannot see it, describe it to me.|"
        "What is this a picture of?||What do you see in this image?|Tell me what is in the picture.|"
        "Could you describe this photo for me?|Write a description of the image.",
        "pl": "Opisz obrazek.|Opisz ten obraz.|Napisz podpis.|Co przedstawia obrazek?|Powiedz, co widzisz.|"
        "Co jest na obrazku?|Opowiedz o tym obrazku.|Co widać na tym obrazie?||"
        "Jak opiszesz ten obrazek?",
        "vi": "Mô tả bức tranh.|Hãy mô tả hình ảnh này.|Viết chú thích cho ảnh.|Bức ảnh cho thấy gì?|"
        "Nói cho tôi biết bạn thấy gì.|"
        "Trong ảnh có gì?|Kể về bức ảnh này.|Bạn nhìn thấy gì?||Bạn sẽ tả bức tranh này thế nào?",
        "ru": "Опиши картинку.|Опиши это изображение.|Напиши подпись.|Что изображено?|Скажи, что ты видишь.|"
        "Что на картинке?|Расскажи об этой картинке.|Что здесь видно?||"
        "Как бы ты описал эту картинку?",
    },
    "caption_full": {
        "en": ENGLISH["caption_full"] + "Describe the picture in detail.|Give a full description.|"
        "Describe everything you see, with places.|Write a detailed caption.|"
        "Describe each object and where it is.|What is shown, and where?|"
        "Describe the image as exactly as you can.|Tell me everything about this picture.|"
        "A detailed description, please.|List every object with size, colour and place.|"
        "Go through this image thing by thing.|Describe the scene thoroughly.|"
        "Leave nothing out: what is here and where?||Give me a long, thorough description of this image.|"
        "Tell me everything you can see, with all the details.|"
        "Could you describe this photo as fully as possible?|"
        "A detailed account of the whole picture, please.",
        "pl": "Opisz obrazek dokładnie.|Podaj pełny opis.|Opisz każdy przedmiot i jego miejsce.|"
        "Napisz szczegółowy podpis.|Co tu jest i gdzie?||Opowiedz o obrazku ze wszystkimi szczegółami.",
        "vi": "Mô tả chi tiết bức tranh.|Cho một mô tả đầy đủ.|Tả từng vật và vị trí của nó.|Viết chú thích chi tiết.|"
        "Có những gì và ở đâu?||Hãy kể tỉ mỉ mọi thứ trong hình.",
        "ru": "Опиши картинку подробно.|Дай полное описание.|Опиши каждый предмет и его место.|"
        "Напиши подробную подпись.|Что здесь и где?||Расскажи о картинке во всех деталях.",
    },
    "positive": {
        "en": ENGLISH["positive"]
        + "Make it sound cheerful.|Be positive about it.|Say it with enthusiasm.|In a positive tone.|"
        "Put it in a friendly way.|Let it sound delighted.||Use a happy tone, please.|"
        "Write it in a bright and upbeat mood.|Let it come across as joyful.|Sound really glad about it.",
        "pl": "Niech brzmi pozytywnie.|Zrób to radosnym tonem.|Powiedz to z entuzjazmem.|W pozytywnym tonie.||"
        "Niech zabrzmi to wesoło.",
        "vi": "Hãy nói với giọng vui vẻ.|Viết với giọng tích cực.|Nói thật hào hứng.|Theo giọng tích cực.||"
        "Hãy nói một cách phấn khởi.",
        "ru": "Пусть звучит радостно.|В положительном тоне.|Скажи это с восторгом.|Сделай это позитивно.||"
        "Пусть это прозвучит весело.",
    },
    "negative": {
        "en": ENGLISH["negative"]
        + "Make it sound gloomy.|Be negative about it.|Say it with disappointment.|In a negative tone.|"
        "Put it in a critical way.|Let it sound bored.||Use a sad tone, please.|"
        "Write it in a dark and bleak mood.|Let it come across as dreary.|Sound really down about it.",
        "pl": "Niech brzmi negatywnie.|Zrób to ponurym tonem.|Powiedz to z rozczarowaniem.|W negatywnym tonie.||"
        "Niech zabrzmi to smutno.",
        "vi": "Hãy nói với giọng buồn chán.|Viết với giọng tiêu cực.|Nói một cách thất vọng.|Theo giọng tiêu cực.||"
        "Hãy nói một cách ảm đạm.",
        "ru": "Пусть звучит мрачно.|В отрицательном тоне.|Скажи это с разочарованием.|Сделай это негативно.||"
        "Пусть это прозвучит грустно.",
    },
    "detect": {
        "en": "Detect: {list}.|Find these things: {list}.|Find any {list}.|Locate: {list}.|"
        "Where are these: {list}?|Mark all of these with boxes: {list}.|Draw boxes around: {list}.|"
        "Look for {list}.|Give me the boxes of these: {list}.|Search the image for {list}.|"
        "Point out any of these: {list}.||Find all of these in the picture: {list}.|"
        "Can you locate every one of the following? {list}|Draw boxes around each of these: {list}.|"
        "Please mark where you see any of the following: {list}.",
        "pl": "Znajdź: {list}.|Wykryj: {list}.|Zaznacz: {list}.|Gdzie są: {list}?||Poszukaj na obrazku: {list}.",
        "vi": "Tìm: {list}.|Phát hiện: {list}.|Đánh dấu: {list}.|Những vật này ở đâu: {list}?||"
        "Hãy khoanh vùng: {list}.",
        "ru": "Найди: {list}.|Обнаружь: {list}.|Отметь: {list}.|Где находятся: {list}?||Поищи на картинке: {list}.",
    },
    "detect_all": {
        "en": "Detect everything.|Find all objects.|Detect all things in the image.|Where is everything?|"
        "Draw a box around each object.|Locate every object.|Find everything you know.|"
        "List all objects with boxes.|Box every single thing.|Show where all the things are.|"
        "Give me the boxes of all objects.||Find all the objects in the picture.|"
        "Can you draw a box around every object?|Locate each and every thing you see.|"
        "Please mark the positions of all objects.",
        "pl": "Wykryj wszystko.|Znajdź wszystkie przedmioty.|Zaznacz każdy przedmiot.|Gdzie co jest?||"
        "Obrysuj wszystkie rzeczy ramkami.",
        "vi": "Phát hiện mọi thứ.|Tìm tất cả đồ vật.|Đánh dấu từng đồ vật.|Mọi vật ở đâu?||Khoanh vùng tất cả các vật.",
        "ru": "Обнаружь всё.|Найди все предметы.|Отметь каждый предмет.|Где что находится?||Обведи рамками все вещи.",
    },
    "refer": {
        "en": "the {x}|{x}|the {x}.|find the {x}|where is the {x}?|Where {is} the {x}?|Find the {x}.|"
        "Locate the {x}.|Show me the {x}.|Which box holds the {x}?|Point to the {x}.|box of the {x}|"
        "Mark the {x}.|I am searching for the {x}.|Where can I find the {x}?|Draw a box around the {x}.|"
        "In which place can the {x} be seen?|Where do you see the {x}?|Give me the box of the {x}.|"
        "Please find the {x} for me.|Tell me where the {x} {is}.|Mark the {x} for me.|"
        "In which place {is} the {x}?|I am looking for the {x}.||"
        "Can you show me the position of the {x}?|Please point out the {x} in the picture.",
        "pl": "{x}|{x}|Znajdź: {x}.|Gdzie {is} {x}?|Wskaż: {x}.|Pokaż: {x}.||Zaznacz ramką: {x}.",
        "vi": "{x}|{x}|Tìm {x}.|{x} ở đâu?|Chỉ ra {x}.|Cho tôi xem {x}.||Khoanh vùng {x}.",
        "ru": "{x}|{x}|Найди: {x}.|Где {x}?|Укажи: {x}.|Покажи: {x}.||Отметь рамкой: {x}.",
    },
    "segment": {
        "en": "the {x}|{x}|segment the {x}|Segment the {x}.|Outline the {x}.|Mask the {x}.|Trace the {x}.|"
        "Give me the mask of the {x}.|Cut out the {x}.|Which pixels belong to the {x}?|"
        "Show the shape of the {x}.|Draw the outline of the {x}.|I want the mask of the {x}.|"
        "Cut the {x} out of the picture.|Contour of the {x}, please.|Where exactly {is} the {x}?|"
        "Draw the contour of the {x}.|I need the outline of the {x}.|Separate the {x} from the rest.||"
        "Can you segment the {x} for me?|Give me a mask of the {x}.|"
        "Please trace the exact shape of the {x}.",
        "pl": "{x}|{x}|Wysegmentuj: {x}.|Obrysuj: {x}.|Podaj kontur: {x}.|Podaj maskę: {x}.||Wytnij z obrazka: {x}.",
        "vi": "{x}|{x}|Phân đoạn {x}.|Vẽ đường viền của {x}.|Cho tôi mặt nạ của {x}.|Tách {x}.||Cắt {x} ra khỏi ảnh.",
        "ru": "{x}|{x}|Сегментируй: {x}.|Обведи: {x}.|Дай контур: {x}.|Дай маску: {x}.||Вырежи с картинки: {x}.",
    },
    "relation": {
        "en": "{Is} the {x} {relation} the {y}?|{Is} the {x} placed {relation} the {y}?|"
        "Do you see the {x} {relation} the {y}?|Is it true that the {x} {is} {relation} the {y}?|"
        "Does the {x} lie {relation} the {y}?|Would you say the {x} {is} {relation} the {y}?|"
        "Can the {x} be found {relation} the {y}?|The {x} {is} {relation} the {y}, right?|"
        "{Is} the {x} located {relation} the {y}?|The {x} {is} {relation} the {y}: true or not?|"
        "Does one find the {x} {relation} the {y}?|Am I right that the {x} {is} {relation} the {y}?|"
        "{Is} the {x} drawn {relation} the {y}?||{Is} the {x} placed {relation} the {y}, yes or no?|"
        "Would it be right to say that you find the {x} {relation} the {y}?",
        "pl": "Czy {x} {is} {relation} {y}?|Czy to prawda, że {x} {is} {relation} {y}?|"
        "{x} {is} {relation} {y}, prawda?|"
        "Czy na obrazku {x} {is} {relation} {y}?||Czy widzisz, że {x} {is} {relation} {y}?",
        "vi": "{x} có ở {relation} {y} không?|{x} nằm {relation} {y} phải không?|Có phải {x} ở {relation} {y} không?|"
        "{x} ở {relation} {y}, đúng không?||Bạn thấy {x} ở {relation} {y} chứ?",
        "ru": "{x} находится {relation} {y}?|Верно ли, что {x} находится {relation} {y}?|"
        "Правда ли, что {x} {relation} {y}?|Находится ли {x} {relation} {y}?||Видишь ли ты, что {x} {relation} {y}?",
    },
    "where": {
        "en": "Where {is} the {x}, seen from the {y}?|Where {is} the {x} relative to the {y}?|"
        "On which side of the {y} {is} the {x}?|{Is} the {x} left, right, above or below the {y}?|"
        "What is the position of the {x} relative to the {y}?|"
        "In which direction from the {y} {is} the {x}?|Compared to the {y}, where {is} the {x}?|"
        "Where does the {x} lie with respect to the {y}?|"
        "Left, right, above or below: where {is} the {x} from the {y}?|"
        "How {is} the {x} placed relative to the {y}?|Starting at the {y}, which way {is} the {x}?|"
        "Tell me where the {x} {is} when looking from the {y}.|What side of the {y} {is} the {x} on?||"
        "Relative to the {y}, where {is} the {x}?|In which direction from the {y} do I find the {x}?|"
        "Tell me the position of the {x} in relation to the {y}.",
        "pl": "Gdzie {is} {x} względem przedmiotu: {y}?|Z której strony przedmiotu {y} {is} {x}?|"
        "{y}: z której strony {is} {x}?|Patrząc od przedmiotu {y}, gdzie {is} {x}?||"
        "W którym kierunku od przedmiotu {y} {is} {x}?",
        "vi": "{x} ở phía nào so với {y}?|So với {y}, {x} ở đâu?|{x} nằm ở hướng nào của {y}?|"
        "Vị trí của {x} so với {y}?||"
        "Nhìn từ {y}, {x} ở phía nào?",
        "ru": "Где {x} относительно предмета {y}?|С какой стороны от предмета {y} находится {x}?|"
        "Если смотреть от предмета {y}, где {x}?|{y}: с какой стороны {x}?||"
        "В каком направлении от предмета {y} находится {x}?",
    },
    "identify": {
        "en": "What is this?|What is in this region?|What is in the box?|Name this object.|Identify this.|"
        "What is marked here?|Which object is this?|What do you see in this box?|Tell me what this is.|"
        "What is at this place?|What would you call this?|Say what the box shows.|"
        "Which thing is in the marked area?||What am I looking at here?|Name the object in the picture.|"
        "Can you tell me what this thing is?|Identify this, please.",
        "pl": "Co to jest?|Co jest w tej ramce?|Nazwij ten przedmiot.|Co tu zaznaczono?||Co widać w tym miejscu?",
        "vi": "Đây là gì?|Trong khung này có gì?|Gọi tên vật này.|Cái gì được đánh dấu?||Ở chỗ này là vật gì?",
        "ru": "Что это?|Что в этой рамке?|Назови этот предмет.|Что здесь отмечено?||Что видно в этом месте?",
    },
}
