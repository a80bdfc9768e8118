"""Words on charts, and how one asks about them, in four languages (see `_forms` for the shape)."""

from imglish.world._forms import Table
from imglish.world._scene import Language

TITLES: dict[Language, str] = {  # what is measured, and in what
    "en": "Sales:units|Rain:mm|Visitors:people|Prices:EUR|Weight:kg|Distance:km|Books read:books|Trees:trees|Snow:cm|"
    "Milk:litres|Bikes:units|Points:points|Harvest:tons|Letters:items|Exports:tons|Bread sold:items",
    "pl": "Sprzedaż:szt.|Deszcz:mm|Goście:osoby|Ceny:zł|Masa:kg|Droga:km|Książki:szt.|Drzewa:szt.|Śnieg:cm|"
    "Mleko:litry|Rowery:szt.|Punkty:pkt|Żniwa:tony|Listy:szt.|Eksport:tony|Pączki:szt.",
    "vi": "Doanh số:cái|Mưa:mm|Khách:người|Giá:nghìn|Cân nặng:kg|Quãng đường:km|Sách:quyển|Cây:cây|Tuyết:cm|Sữa:lít|"
    "Xe đạp:chiếc|Điểm:điểm|Lúa:tấn|Thư:lá|Xuất khẩu:tấn",
    "ru": "Продажи:шт.|Дождь:мм|Гости:люди|Цены:руб.|Масса:кг|Путь:км|Книги:шт.|Деревья:шт.|Снег:см|Молоко:литры|"
    "Очки:очки|Урожай:тонны|Письма:шт.|Экспорт:тонны|Щётки:шт.",
}
AXES: dict[Language, dict[str, str]] = {
    "en": {"month": "Month", "day": "Day", "year": "Year", "word": "Kind", "letter": "Group", "number": "Step"},
    "pl": {
        "month": "Miesiąc",
        "day": "Dzień",
        "year": "Rok",
        "word": "Rodzaj",
        "letter": "Grupa",
        "number": "Krok",
    },
    "vi": {"month": "Tháng", "day": "Ngày", "year": "Năm", "word": "Loại", "letter": "Nhóm", "number": "Bước"},
    "ru": {"month": "Месяц", "day": "День", "year": "Год", "word": "Вид", "letter": "Группа", "number": "Шаг"},
}
NAMES: dict[Language, dict[str, str]] = {
    "en": {
        "month": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "day": "Mon Tue Wed Thu Fri Sat Sun",
        "word": "Tea Oats Rye Fish Milk Ham Nuts Figs Corn|Cats Dogs Cows Hens Bees Owls Mice|Rome Oslo Lima Kyiv Lyon "
        "Bern Riga|Iron Gold Wood Coal Salt Tin Oil|Ann Bob Eve Joe Kim Lea Max Zoe",
    },
    "pl": {
        "month": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
        "day": "pon wt śr czw pt sob ndz",
        "word": "Łódź Rzym Oslo Lwów Ryga Kijów Bern|Ryż Żyto Ser Miód Sól Sok Owies Mąka|Koń Kot Pies Gęś Ryś Lis Łoś|"
        "Lipa Buk Dąb Jodła Wiąz Sosna|Ewa Jan Ala Iza Leś Róża Jaś|Złoto Cyna Węgiel Miedź Sól Ropa",
    },
    "vi": {
        "month": "T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12",
        "day": "T2 T3 T4 T5 T6 T7 CN",
        "word": "Huế Vinh Lào Nga Đức Pháp Ý|Lúa Ngô Mía Đỗ Trà Sữa Cá Mận|Gà Bò Chó Mèo Vịt Lợn Hổ|"
        "Gỗ Sắt Than Muối Vôi Đồng|An Hà Mỹ Sơn Vân Yến Đạt",
    },
    "ru": {
        "month": "янв фев мар апр май июн июл авг сен окт ноя дек",
        "day": "пн вт ср чт пт сб вс",
        "word": "Чай Рожь Рис Сыр Мёд Соль Сок Лук|Кот Пёс Конь Щука Ёж Лось Жук|Рим Осло Уфа Рига Киев Берн|"
        "Ель Дуб Бук Вяз Клён Ива|Юля Эля Ян Лев Ира Пётр Ия|Медь Уголь Цинк Лён Сталь",
    },
}
FORMS: dict[Language, dict[str, str]] = {
    "en": {"bar": "bar chart", "line": "line chart", "scatter": "scatter plot", "pie": "pie chart"},
    "pl": {"bar": "wykres słupkowy", "line": "wykres liniowy", "scatter": "wykres punktowy", "pie": "wykres kołowy"},
    "vi": {"bar": "biểu đồ cột", "line": "biểu đồ đường", "scatter": "biểu đồ phân tán", "pie": "biểu đồ tròn"},
    "ru": {
        "bar": "столбчатая диаграмма",
        "line": "линейный график",
        "scatter": "точечная диаграмма",
        "pie": "круговая диаграмма",
    },
}
TRENDS: dict[Language, dict[str, str]] = {
    "en": {"rising": "rising", "falling": "falling", "none": "no trend"},
    "pl": {"rising": "rosnący", "falling": "malejący", "none": "brak trendu"},
    "vi": {"rising": "tăng", "falling": "giảm", "none": "không có xu hướng"},
    "ru": {"rising": "растущий", "falling": "падающий", "none": "нет тренда"},
}

CHART: Table = {
    "value": {
        "en": "What is the value of {name}?|What is the value for {name}?|How much is {name}?|"
        "Which value has {name}?|What number belongs to {name}?|How high is {name}?|"
        "Read the value of {name}.|{name}: which value?|What does the chart show for {name}?|"
        "Give the value of {name}.|Where does {name} stand?|What figure can you read off for {name}?|"
        "How many does {name} have?||Read off the number for {name}, please.|"
        "What number does the chart give for {name}?|Value shown for {name}?",
        "pl": "Jaka jest wartość {name}?|Ile wynosi {name}?|Jaką wartość ma {name}?|Podaj wartość: {name}.|"
        "Odczytaj wartość {name}.||Jaka liczba odpowiada kategorii {name}?",
        "vi": "Giá trị của {name} là bao nhiêu?|{name} bằng bao nhiêu?|{name} có giá trị nào?|Đọc giá trị của {name}.|"
        "Cho biết giá trị {name}.||Con số ứng với {name} là gì?",
        "ru": "Какое значение у {name}?|Чему равно {name}?|Назови значение: {name}.|Сколько показывает {name}?|"
        "Прочитай значение {name}.||Какое число соответствует {name}?",
    },
    "largest": {
        "en": "Which one is the largest?|What has the highest value?|Which category is the largest?|"
        "What is the maximum reached by?|Which one is the highest?|Where is the maximum?|"
        "Which is the biggest?|Name the category with the highest value.|Which one comes out on top?|"
        "What beats all the others?|Who leads in this chart?||Which category has the highest value?|"
        "Tell me what comes out on top in this chart.|What has the biggest value here?|"
        "Name the category with the maximum, please.",
        "pl": "Co jest największe?|Co ma największą wartość?|Która kategoria jest największa?|Gdzie jest maksimum?|"
        "Podaj kategorię o największej wartości.||Co prowadzi na wykresie?",
        "vi": "Mục nào lớn nhất?|Cái nào có giá trị cao nhất?|Loại nào lớn nhất?|Giá trị lớn nhất ở đâu?|"
        "Nêu mục có giá trị cao nhất.||Mục nào dẫn đầu?",
        "ru": "Что самое большое?|У чего самое большое значение?|Какая категория самая большая?|Где максимум?|"
        "Назови категорию с наибольшим значением.||Что лидирует на графике?",
    },
    "smallest": {
        "en": "Which one is the smallest?|What has the lowest value?|Which category is the smallest?|"
        "Which one is the lowest?|Where is the minimum?|Which has the least?|What comes last in size?|"
        "Name the category with the lowest value.|Which one is at the very bottom?|"
        "What is behind all the others?|Which one does worst?||Which category has the lowest value?|"
        "Tell me what comes out at the bottom in this chart.|What has the least value here?|"
        "Name the category with the minimum, please.",
        "pl": "Co jest najmniejsze?|Co ma najmniejszą wartość?|Która kategoria jest najmniejsza?|Gdzie jest minimum?|"
        "Podaj kategorię o najmniejszej wartości.||Co wypada najsłabiej?",
        "vi": "Mục nào nhỏ nhất?|Cái nào có giá trị thấp nhất?|Loại nào nhỏ nhất?|Giá trị nhỏ nhất ở đâu?|"
        "Nêu mục có giá trị thấp nhất.||Mục nào đứng cuối?",
        "ru": "Что самое маленькое?|У чего самое малое значение?|Какая категория самая маленькая?|Где минимум?|"
        "Назови категорию с наименьшим значением.||Что в самом низу?",
    },
    "difference": {
        "en": "What is the difference between {name} and {other}?|How far apart are {name} and {other}?|"
        "By how much do {name} and {other} differ?|Difference between {name} and {other}?|"
        "How much is between {name} and {other}?|What is the gap between {name} and {other}?|"
        "Compute the difference of {name} and {other}.|"
        "How big is the difference between {name} and {other}?|"
        "If you subtract the smaller of {name} and {other} from the larger, what is left?|"
        "What separates {name} from {other}?|How many lie between {name} and {other}?||"
        "Give me the gap between {name} and {other}.|Difference in value, {name} versus {other}?",
        "pl": "Jaka jest różnica między {name} a {other}?|O ile różnią się {name} i {other}?|"
        "Ile wynosi różnica: {name} i {other}?|Podaj różnicę między {name} a {other}.||Ile dzieli {name} i {other}?",
        "vi": "{name} và {other} chênh nhau bao nhiêu?|Hiệu giữa {name} và {other} là bao nhiêu?|"
        "{name} khác {other} bao nhiêu?|Tính chênh lệch giữa {name} và {other}.||Khoảng cách giữa {name} và {other}?",
        "ru": "Какая разница между {name} и {other}?|На сколько различаются {name} и {other}?|"
        "Чему равна разница: {name} и {other}?|Назови разницу: {name} и {other}.||Сколько отделяет {name} и {other}?",
    },
    "trend": {
        "en": "What is the trend?|Is the trend rising or falling?|How do the values develop?|"
        "Which trend do you see?|Do the values rise or fall?|What trend does the chart show?|"
        "In which direction do the values go?|Trend?|Is it going up or down?|"
        "Where are the values heading?|How does the curve run?||Overall, do the values go up or down?|"
        "Tell me which way the numbers are heading.|How do the values develop over time?|"
        "What trend does this chart show, please?",
        "pl": "Jaki jest trend?|Czy trend jest rosnący, czy malejący?|Jak zmieniają się wartości?|Jaki trend widać?||"
        "W którą stronę idą wartości?",
        "vi": "Xu hướng là gì?|Xu hướng tăng hay giảm?|Các giá trị thay đổi thế nào?|Bạn thấy xu hướng nào?||"
        "Các giá trị đi theo hướng nào?",
        "ru": "Какой тренд?|Тренд растущий или падающий?|Как меняются значения?|Какой тренд виден?||"
        "Куда идут значения?",
    },
    "count": {
        "en": "How many categories are there?|How many values does the chart show?|Count the categories.|"
        "How many entries has the chart?|What is the number of categories?||"
        "How many categories does this chart have?|Count the categories in the chart.|"
        "Number of categories shown?|Could you tell me how many different categories are plotted?",
        "pl": "Ile jest kategorii?|Ile wartości pokazuje wykres?|Policz kategorie.|Ile pozycji ma wykres?||"
        "Jaka jest liczba kategorii?",
        "vi": "Có bao nhiêu mục?|Biểu đồ có mấy giá trị?|Đếm số mục.|Có mấy loại?||Số mục là bao nhiêu?",
        "ru": "Сколько здесь категорий?|Сколько значений на графике?|Посчитай категории.|Сколько позиций на графике?||"
        "Каково число категорий?",
    },
    "title": {
        "en": "What is the title of the chart?|What is the chart called?|Read the title.|What is the heading?|"
        "What does the chart's headline say?||What is this chart called?|Read me the chart title.|"
        "Which title is written on the chart?|Title of this figure, please.",
        "pl": "Jaki jest tytuł wykresu?|Jak nazywa się wykres?|Odczytaj tytuł.|Jaki jest nagłówek?||"
        "Co głosi nagłówek wykresu?",
        "vi": "Tiêu đề biểu đồ là gì?|Biểu đồ tên gì?|Đọc tiêu đề.|Tiêu đề là gì?||Dòng đầu của biểu đồ viết gì?",
        "ru": "Какой заголовок у графика?|Как называется график?|Прочитай заголовок.|Какое название?||"
        "Что гласит заголовок графика?",
    },
    "form": {
        "en": "What kind of chart is this?|Which type of chart is it?|Name the chart type.|What chart is this?|"
        "In what form are the data shown?||Which type of chart am I looking at?|"
        "Is this a bar chart, a pie chart or what?|Tell me the chart type.|What sort of diagram is it?",
        "pl": "Jaki to rodzaj wykresu?|Jakiego typu jest wykres?|Podaj typ wykresu.|Jaki to wykres?||"
        "W jakiej formie pokazano dane?",
        "vi": "Đây là loại biểu đồ gì?|Biểu đồ kiểu gì?|Nêu loại biểu đồ.|Đây là biểu đồ nào?||"
        "Dữ liệu được vẽ dưới dạng nào?",
        "ru": "Какой это вид диаграммы?|Какого типа график?|Назови тип графика.|Что это за диаграмма?||"
        "В каком виде показаны данные?",
    },
    "summary": {
        "en": "Describe the chart.|What does the chart show?|Summarise the chart.|What is the conclusion?|"
        "What can be concluded from the chart?|Describe this picture.|Explain the chart.|"
        "What does it tell us?|Put the chart into words.|What is the message of this chart?|"
        "What do you learn from it?||Give me a summary of this chart.|What does this chart show?|"
        "Could you explain the chart to me?|Tell me in words what is in this chart.",
        "pl": "Opisz wykres.|Co pokazuje wykres?|Streść wykres.|Jaki jest wniosek?|Opisz obrazek.||"
        "Co wynika z tego wykresu?",
        "vi": "Mô tả biểu đồ.|Biểu đồ cho thấy gì?|Tóm tắt biểu đồ.|Kết luận là gì?|Mô tả ảnh này.||"
        "Ta biết được gì từ biểu đồ này?",
        "ru": "Опиши график.|Что показывает график?|Кратко изложи график.|Какой вывод?|Опиши картинку.||"
        "Что следует из этого графика?",
    },
    # answers
    "head": {
        "en": "A {form}: {title}.",
        "pl": "{form}: {title}.",
        "vi": "{form}: {title}.",
        "ru": "{form}: {title}.",
    },
    "most": {
        "en": " The highest is {a} with {x}.",
        "pl": " Najwięcej: {a}, {x}.",
        "vi": " Cao nhất là {a}: {x}.",
        "ru": " Больше всего: {a}, {x}.",
    },
    "least": {
        "en": " The lowest is {b} with {y}.",
        "pl": " Najmniej: {b}, {y}.",
        "vi": " Thấp nhất là {b}: {y}.",
        "ru": " Меньше всего: {b}, {y}.",
    },
    "course": {
        "en": " The trend: {trend}, from {first} to {last}.",
        "pl": " Trend: {trend}, od {first} do {last}.",
        "vi": " Xu hướng: {trend}, từ {first} đến {last}.",
        "ru": " Тренд: {trend}, от {first} до {last}.",
    },
    "all": {
        "en": " All values: {pairs}.",
        "pl": " Wszystkie wartości: {pairs}.",
        "vi": " Tất cả giá trị: {pairs}.",
        "ru": " Все значения: {pairs}.",
    },
    "positive": {
        "en": " {a} is a real success.",
        "pl": " {a} to prawdziwy sukces.",
        "vi": " {a} là một thành công thật sự.",
        "ru": " {a} — настоящий успех.",
    },
    "negative": {
        "en": " {b} is a disappointment.",
        "pl": " {b} to rozczarowanie.",
        "vi": " {b} thật đáng thất vọng.",
        "ru": " {b} — разочарование.",
    },
}
