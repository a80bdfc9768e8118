"""The words of `probe`: five questions that vision-language models are known to fail, in four languages."""

from __future__ import annotations

from imglish.world._forms import Table
from imglish.world._scene import Language

ABSENT: dict[Language, str] = {"en": "not there", "pl": "nie ma", "vi": "không có", "ru": "нет"}
SIDE: dict[Language, tuple[str, str]] = {
    "en": ("left", "right"),
    "pl": ("z lewej", "z prawej"),
    "vi": ("bên trái", "bên phải"),
    "ru": ("слева", "справа"),
}

# {one} and {two} are colours that agree with "line", {x} and {y} things in the nominative, {xs} a plural
TABLE: Table = {
    "crossings": {
        "en": "How many times do the {one} line and the {two} line cross?|"
        "How often does the {one} line cross the {two} line?|How many times do the two lines intersect?|"
        "Count the crossings of the {one} and the {two} line.|In how many points do the lines cross?|"
        "How many intersections are there?|How many crossings do the two lines have?|"
        "Count the points where the lines meet.|What is the number of crossings of the two lines?|"
        "How many times does one line run across the other?|"
        "At how many places do the {one} and {two} lines intersect?||"
        "Count the points where the {one} line and the {two} line intersect.|"
        "At how many places do the {one} and {two} lines meet?|"
        "Number of crossings between the {one} line and the {two} line, please.",
        "pl": "Ile razy przecinają się te linie?|Ile razy linia {one} przecina linię drugą?|"
        "Policz przecięcia linii.|W ilu punktach linie się przecinają?|Ile jest przecięć?||"
        "Ile punktów wspólnych mają te linie?",
        "vi": "Hai đường cắt nhau mấy lần?|Có bao nhiêu giao điểm?|"
        "Đường {one} và đường {two} cắt nhau bao nhiêu lần?|Đếm số giao điểm của hai đường.|"
        "Hai đường giao nhau tại mấy điểm?||Số lần hai đường cắt nhau là bao nhiêu?",
        "ru": "Сколько раз пересекаются линии?|Сколько раз {one} линия пересекает другую?|"
        "Посчитай пересечения линий.|В скольких точках пересекаются линии?|Сколько здесь пересечений?||"
        "Сколько общих точек у этих линий?",
    },
    "count": {
        "en": "How many {xs} are there?|How many {xs} do you see?|Count the {xs}.|"
        "How many {xs} are in the picture?|What is the number of {xs}?|How many {xs} can you count?|"
        "Tell me how many {xs} there are.|Exactly how many {xs} are shown?|"
        "How many {xs} have been drawn?|Could you count all the {xs}?|What number of {xs} appears here?||"
        "Tell me how many {xs} you can see.|What is the number of {xs} here?|"
        "Please count all {xs} in the image.|I need to know how many {xs} this shows.",
        "pl": "Ile razy występuje tu {x}?|Policz: {x}.|Ile sztuk: {x}?|Podaj liczbę: {x}.||"
        "Ile razy na obrazku pojawia się {x}?",
        "vi": "Có bao nhiêu {x}?|Đếm số {x}.|Trong ảnh có bao nhiêu {x}?|Bạn thấy mấy {x}?||"
        "Hãy đếm xem có bao nhiêu {x}.",
        "ru": "Сколько здесь таких предметов: {x}?|Посчитай: {x}.|Сколько раз здесь встречается {x}?|"
        "Назови количество: {x}.||Сколько раз на картинке появляется {x}?",
    },
    "digits": {
        "en": "Which number is written here?|What number do you see?|Read the number.|"
        "Which digits are written?|What is the number in the picture?|Which number is shown?|"
        "What does the number say?|Read the small digits.|Tell me the written number.|"
        "Which number can be read here?|Spell out the digits in the image.||"
        "What number do you read in this picture?|Tell me the number shown here.|"
        "Please read out the digits.|What are the digits in the image?",
        "pl": "Jaka liczba jest tu napisana?|Jaką liczbę widzisz?|Odczytaj liczbę.|Jakie cyfry są napisane?||"
        "Podaj zapisaną liczbę.",
        "vi": "Số nào được viết ở đây?|Bạn thấy số nào?|Đọc con số.|Những chữ số nào được viết?||"
        "Cho biết con số trong ảnh.",
        "ru": "Какое число здесь написано?|Какое число ты видишь?|Прочитай число.|Какие цифры написаны?||"
        "Назови написанное число.",
    },
    "left_right": {
        "en": "Is the {x} left or right of the {y}?|Is the {x} to the left or to the right of the {y}?|"
        "On which side of the {y} is the {x}, left or right?|"
        "Left or right: where is the {x}, seen from the {y}?|"
        "Which side of the {y} is the {x} on, left or right?|Does the {x} lie left or right of the {y}?|"
        "Compared to the {y}, is the {x} more to the left or to the right?|"
        "Is the {x} further left or further right than the {y}?|"
        "Do you find the {x} left or right of the {y}?|Left or right of the {y}: where does the {x} lie?|"
        "To which side of the {y} lies the {x}, left or right?||"
        "Tell me if the {x} is to the left or to the right of the {y}.|"
        "Left or right: on what side of the {y} do you see the {x}?|"
        "Looking from the {y}, is the {x} on the left or on the right?",
        "pl": "Patrząc na przedmiot {y}: czy {x} jest z lewej, czy z prawej?|"
        "Z lewej czy z prawej: gdzie jest {x}, gdy obok jest {y}?|{y}: czy {x} jest z lewej, czy z prawej strony?|"
        "Z której strony przedmiotu {y} jest {x}: z lewej czy z prawej?||"
        "{x}: z lewej czy z prawej strony przedmiotu {y}?",
        "vi": "{x} ở bên trái hay bên phải {y}?|{x} nằm bên trái hay bên phải so với {y}?|"
        "Bên trái hay bên phải: {x} ở phía nào của {y}?|So với {y}, {x} ở bên trái hay bên phải?||"
        "{x} được vẽ bên trái hay bên phải {y}?",
        "ru": "{x} слева или справа от предмета {y}?|"
        "С какой стороны от предмета {y} находится {x}: слева или справа?|"
        "Слева или справа от предмета {y} находится {x}?|Если смотреть на предмет {y}, {x} слева или справа?||"
        "Где {x} относительно предмета {y}: слева или справа?",
    },
    "absent": {
        "en": "On which side of the picture is the {x}?|"
        "In which half of the picture is the {x}, left or right?|"
        "Is the {x} in the left or in the right half?|Which side is the {x} on?|"
        "Where is the {x}, on the left or on the right?|Left or right: where is the {x}?|"
        "Is the {x} on the left side or on the right side?|Find the {x}: left or right half?|"
        "In what half of the image does the {x} lie?|Does the {x} stand on the left or on the right?|"
        "Which half shows the {x}?||Which side of the image is the {x} on?|"
        "Tell me on what side of the picture I can find the {x}.|"
        "The {x}: on what side of the image is it?|Say which side of the image the {x} is on, please.",
        "pl": "Po której stronie obrazka jest {x}?|W której połowie jest {x}, z lewej czy z prawej?|"
        "Gdzie jest {x}, z lewej czy z prawej?|Z lewej czy z prawej: gdzie jest {x}?||"
        "W której połowie obrazka znajduje się {x}?",
        "vi": "{x} ở bên nào của bức tranh?|{x} ở nửa trái hay nửa phải?|{x} ở đâu, bên trái hay bên phải?|"
        "Bên trái hay bên phải: {x} ở đâu?||{x} nằm ở nửa nào của hình?",
        "ru": "На какой стороне картинки {x}?|В какой половине {x}, слева или справа?|Где {x}, слева или справа?|"
        "Слева или справа: где {x}?||В какой половине картинки находится {x}?",
    },
}
