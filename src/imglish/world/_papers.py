"""Words on receipts and cards, and how one asks about them, in four languages (see `_forms` for the shape)."""

from imglish.world._forms import Table
from imglish.world._scene import Language

GOODS: dict[Language, str] = {
    "en": "bread milk butter cheese apples eggs rice tea coffee sugar salt soap juice water honey pasta fish onions "
    "lemons beans cream flour nuts soup paper pens socks candles",
    "pl": "chleb mleko masło ser jabłka jajka ryż herbata kawa cukier sól mydło sok woda miód makaron ryba cebula "
    "bułka śliwki mąka żurek gruszki pączek świeca zeszyt śmietana",
    "vi": "bánh mì|sữa|bơ|phở|táo|trứng|gạo|trà|cà phê|đường|muối|nước mắm|cam|nước|mật ong|bún|cá|hành|chanh|"
    "đậu|kẹo|thịt bò|bút|giấy|nến|rau",
    "ru": "хлеб молоко масло сыр яблоки яйца рис чай кофе сахар соль мыло сок вода мёд щука лук лимон сметана мука "
    "орехи суп ручка свеча груши тетрадь",
}
SHOPS: dict[Language, str] = {
    "en": "Market|Store|Shop|Foods|Corner|Books|Bakery",
    "pl": "Sklep|Rynek|Delikatesy|U Źródła|Piekarnia|Żabki|Dom",
    "vi": "Chợ|Cửa hàng|Quán|Siêu thị|Tiệm",
    "ru": "Лавка|Рынок|Магазин|Продукты|Пекарня|Дом",
}
TOTALS: dict[Language, str] = {
    "en": "TOTAL|Total|SUM|To pay",
    "pl": "SUMA|RAZEM|Razem|Do zapłaty",
    "vi": "TỔNG|Tổng cộng|Cộng",
    "ru": "ИТОГО|ВСЕГО|Итого|К оплате",
}
THANKS: dict[Language, str] = {
    "en": "Thank you!|Come again",
    "pl": "Dziękujemy!|Zapraszamy",
    "vi": "Cảm ơn!|Hẹn gặp lại",
    "ru": "Спасибо!|Ждём вас",
}
TITLES: dict[Language, str] = {
    "en": "IDENTITY CARD|BADGE|STUDENT CARD|LIBRARY CARD|PASS",
    "pl": "DOWÓD OSOBISTY|IDENTYFIKATOR|LEGITYMACJA|KARTA|PRZEPUSTKA",
    "vi": "THẺ CĂN CƯỚC|THẺ SINH VIÊN|THẺ NHÂN VIÊN|THẺ THƯ VIỆN",
    "ru": "УДОСТОВЕРЕНИЕ|ПРОПУСК|СТУДЕНЧЕСКИЙ|БИЛЕТ",
}
LABELS: dict[Language, tuple[str, str, str, str, str]] = {  # name, surname, number, birth_date, country
    "en": ("Name", "Surname", "No", "Born", "Country"),
    "pl": ("Imię", "Nazwisko", "Nr", "Ur.", "Kraj"),
    "vi": ("Tên", "Họ", "Số", "Sinh", "Nước"),
    "ru": ("Имя", "Фамилия", "№", "Род.", "Страна"),
}
GIVEN: dict[Language, str] = {
    "en": "Anna John Mary Peter Lucy Adam Emma Oscar Grace Hugo Ruby Felix Ivy Leo Nora Simon",
    "pl": "Łukasz Małgorzata Józef Zofia Stanisław Agnieszka Paweł Żaneta Michał Ewa Grażyna Tomasz Róża Błażej",
    "vi": "An Bình Hương Dũng Thảo Đức Hạnh Lan Mỹ Nhật Phượng Quý Sơn Tuấn Vân Yến",
    "ru": "Иван Мария Пётр Ольга Юрий Анна Фёдор Вера Игорь Нина Лев Дарья Егор Софья Илья Яна",
}
SURNAMES: dict[Language, str] = {
    "en": "Smith Baker Wood Hill Young Green King Ward Cook Bell Fox Hart Quinn Dixon",
    "pl": "Wójcik Kowal Dąbek Zając Gołąb Król Wróbel Sęk Żak Pająk Cieślak Łoś Bąk Szczepan",
    "vi": "Nguyễn Trần Lê Phạm Hoàng Huỳnh Phan Vũ Võ Đặng Bùi Đỗ Hồ Ngô",
    "ru": "Кузнец Шевчук Бондарь Жук Мельник Заяц Щукин Эйдель Царёв Юшко Дьяк Чехов Фомин Гусь",
}
COUNTRIES: dict[Language, str] = {
    "en": "Poland|Vietnam|Russia|England|Spain|Italy|Japan|Brazil|Kenya|Egypt|Norway|India|Chile|Greece|France",
    "pl": "Polska|Wietnam|Rosja|Anglia|Hiszpania|Włochy|Japonia|Brazylia|Kenia|Egipt|Norwegia|Indie|Chile|Francja",
    "vi": "Ba Lan|Việt Nam|Nga|Anh|Tây Ban Nha|Ý|Nhật Bản|Kenya|Ai Cập|Na Uy|Ấn Độ|Hy Lạp|Pháp|Đức",
    "ru": "Польша|Вьетнам|Россия|Англия|Испания|Италия|Япония|Кения|Египет|Индия|Чили|Греция|Франция",
}
ABOUT = {  # what the schema says of each field
    "shop": "name of the shop",
    "date": "date on the receipt, as printed",
    "total": "total to pay",
    "items": "bought items with prices, as 'bread 3.20, milk 2.10'",
    "name": "given name",
    "surname": "family name",
    "number": "number of the card",
    "birth_date": "date of birth, as printed",
    "country": "country",
}


def choices(words: str) -> list[str]:
    """The entries of a list above: parted by bars, or by spaces where there are no bars."""
    return words.split("|") if "|" in words else words.split()


_EXTRACT: dict[Language, str] = {
    "en": "Extract the fields.|Fill in the form.|Give me the data of this {paper} as JSON.|Extract the data.|"
    "Return the fields of the {paper} as JSON.|Read the {paper} into the form.|Write the fields as JSON.|"
    "Get the details of this {paper}.|What are the values of the fields?|Parse this {paper}.||"
    "Turn this {paper} into a record.|Pull the details out of the picture.|Put what the {paper} says into the form.",
    "pl": "Wypełnij pola.|Wypisz dane jako JSON.|Odczytaj pola.|Podaj dane z obrazka.|Wydobądź dane.||"
    "Przepisz dane do formularza.",
    "vi": "Trích xuất các trường.|Điền vào biểu mẫu.|Cho tôi dữ liệu dạng JSON.|Lấy thông tin từ ảnh.||"
    "Chuyển nội dung ảnh thành bản ghi.",
    "ru": "Заполни поля.|Выпиши данные в виде JSON.|Извлеки данные.|Прочитай поля.||Перенеси данные в форму.",
}

RECEIPT: Table = {
    "fields": {language: text.replace("{paper}", "receipt") for language, text in _EXTRACT.items()},
    "summary": {
        "en": "Describe the receipt.|What is on the receipt?|Summarise the receipt.|Describe this picture.|"
        "Tell me about this receipt.|What was bought?|What does the picture show?|"
        "Give a description of the receipt.|Put the receipt into words.|Explain what this receipt says.|"
        "What did this person buy?||What can you say about this receipt?|"
        "Give me a short description of the receipt.|Could you summarise this receipt in words?",
        "pl": "Opisz paragon.|Co jest na paragonie?|Streść paragon.|Opisz obrazek.|Co kupiono?||"
        "Opowiedz, co jest na tym paragonie.",
        "vi": "Mô tả hóa đơn.|Trên hóa đơn có gì?|Tóm tắt hóa đơn.|Mô tả ảnh này.|Đã mua những gì?||"
        "Hãy nói về hóa đơn này.",
        "ru": "Опиши чек.|Что в чеке?|Кратко изложи чек.|Опиши картинку.|Что купили?||Расскажи, что в этом чеке.",
    },
    "unknown": {
        "en": "Who was the cashier?|Was it paid in cash?|Where is the shop?|Who went shopping?|"
        "Is the shop open today?|Was there a queue?|What colour is the bread?|"
        "What is the telephone number of the shop?|Did the customer bring a bag?|Who owns this shop?|"
        "Was the food tasty?||What was the cashier's name?|Tell me who served at the till.|"
        "Which cashier rang this up?|Name of the cashier, please.",
        "pl": "Kto był kasjerem?|Czy płacono gotówką?|Gdzie jest ten sklep?|Kto robił zakupy?|"
        "Jaki jest telefon do sklepu?||Kto jest właścicielem sklepu?",
        "vi": "Ai là thu ngân?|Có trả bằng tiền mặt không?|Cửa hàng ở đâu?|Ai đã đi mua?|"
        "Số điện thoại của cửa hàng là gì?||Ai là chủ cửa hàng?",
        "ru": "Кто был кассиром?|Платили наличными?|Где находится магазин?|Кто делал покупки?|"
        "Какой телефон у магазина?||Кто владелец магазина?",
    },
    "total": {
        "en": "What is the total?|How much is the total?|How much was paid?|What does it cost in all?|"
        "What is the sum?|How much is it altogether?|What is the amount to pay?|Total?|"
        "What did everything come to?|How much money was spent?|What is the final amount?||"
        "How much was paid altogether?|Tell me the total amount.|"
        "What does it all add up to on the receipt?|Grand total, please.",
        "pl": "Ile wynosi suma?|Jaka jest suma?|Ile zapłacono?|Ile to kosztuje razem?||Jaka jest kwota do zapłaty?",
        "vi": "Tổng cộng là bao nhiêu?|Tổng tiền là bao nhiêu?|Đã trả bao nhiêu?|Tất cả hết bao nhiêu?||"
        "Số tiền phải trả là bao nhiêu?",
        "ru": "Сколько всего?|Какая сумма?|Сколько заплатили?|Какой итог?||Какова сумма к оплате?",
    },
    "shop": {
        "en": "Which shop is it?|What is the name of the shop?|Where was this bought?|Who issued the receipt?|"
        "What shop is the receipt from?|Which store is this?|Name the shop.|What is the shop called?|"
        "In which store did this happen?|Whose receipt is this?|At what shop was the shopping done?||"
        "Tell me the name of the store.|What shop is this receipt from?|Store name, please.",
        "pl": "Jaki to sklep?|Jak nazywa się sklep?|Gdzie to kupiono?|Z jakiego sklepu jest paragon?||"
        "Kto wystawił paragon?",
        "vi": "Cửa hàng nào?|Tên cửa hàng là gì?|Mua ở đâu?|Hóa đơn của cửa hàng nào?||Ai đã xuất hóa đơn?",
        "ru": "Какой это магазин?|Как называется магазин?|Где это куплено?|Из какого магазина чек?||Кто выдал чек?",
    },
    "date": {
        "en": "What is the date?|Which date is on the receipt?|When was it bought?|"
        "What is the date of the receipt?|On which day was this?|When was the receipt issued?|Date?|"
        "From when is the receipt?|What day did the shopping happen?|When did they pay?|"
        "Which day is printed?||When was this receipt issued?|Tell me the date of purchase.|"
        "What day is printed on the receipt?|Date on the receipt, please.",
        "pl": "Jaka jest data?|Z którego dnia jest paragon?|Kiedy to kupiono?|Jaka data jest na paragonie?||"
        "Którego dnia zrobiono zakupy?",
        "vi": "Ngày nào?|Ngày trên hóa đơn là gì?|Mua khi nào?|Hóa đơn ngày nào?||Việc mua diễn ra ngày nào?",
        "ru": "Какая дата?|Какая дата в чеке?|Когда это куплено?|От какого числа чек?||В какой день сделана покупка?",
    },
    "price": {
        "en": "What is the price of {name}?|How much is {name}?|How much does {name} cost?|Price of {name}?|"
        "What does {name} cost?|How much was paid for {name}?|What is the cost of {name}?|"
        "Give the price of {name}.|For how much was {name} sold?|What did they pay for {name}?|"
        "Which price stands beside {name}?||How much did {name} cost?|Tell me what was paid for {name}.|"
        "Price for {name}?|What does the receipt charge for {name}, please?",
        "pl": "Ile kosztuje {name}?|Jaka jest cena: {name}?|Ile zapłacono: {name}?|Podaj cenę: {name}.||"
        "Jaka cena widnieje obok napisu {name}?",
        "vi": "Giá của {name} là bao nhiêu?|{name} giá bao nhiêu?|{name} bao nhiêu tiền?|Cho biết giá {name}.||"
        "Phải trả bao nhiêu cho {name}?",
        "ru": "Сколько стоит {name}?|Какая цена: {name}?|Назови цену: {name}.|Сколько заплатили: {name}?||"
        "Какая цена стоит рядом с {name}?",
    },
    "dearest": {
        "en": "What is the most expensive item?|Which item costs the most?|What cost the most?|"
        "Which item is the dearest?|Which of these had the highest price?||Which item cost the most?|"
        "Name the priciest thing on the receipt.|What was the dearest product?|"
        "Please tell me which article has the highest price.",
        "pl": "Co jest najdroższe?|Który produkt kosztuje najwięcej?|Co kosztowało najwięcej?|"
        "Jaki jest najdroższy produkt?||Co ma najwyższą cenę?",
        "vi": "Món nào đắt nhất?|Cái gì đắt nhất?|Mặt hàng nào giá cao nhất?|Món đắt nhất là gì?||"
        "Thứ nào có giá lớn nhất?",
        "ru": "Что самое дорогое?|Какой товар самый дорогой?|Что стоило больше всего?|Что стоит дороже всего?||"
        "У чего самая высокая цена?",
    },
    "count": {
        "en": "How many items are on the receipt?|How many items were bought?|How many products are there?|"
        "Count the items.|What is the number of things bought?||How many items does the receipt show?|"
        "Count the items on this receipt.|Number of items listed?|"
        "Could you tell me how many articles this receipt lists?",
        "pl": "Ile pozycji jest na paragonie?|Ile rzeczy kupiono?|Ile jest produktów?|Policz pozycje.||"
        "Jaka jest liczba zakupów?",
        "vi": "Có bao nhiêu món trên hóa đơn?|Đã mua mấy món?|Có mấy mặt hàng?|Đếm số món.||Số món là bao nhiêu?",
        "ru": "Сколько позиций в чеке?|Сколько товаров куплено?|Сколько здесь товаров?|Посчитай товары.||"
        "Каково число покупок?",
    },
    # answers
    "head": {"en": "A receipt", "pl": "Paragon", "vi": "Hóa đơn", "ru": "Чек"},
    "from": {"en": " from {shop}", "pl": " ze sklepu {shop}", "vi": " của {shop}", "ru": " магазина {shop}"},
    "dated": {"en": " dated {date}", "pl": " z dnia {date}", "vi": " ngày {date}", "ru": " от {date}"},
    "sum": {
        "en": " The total is {total}.",
        "pl": " Razem {total}.",
        "vi": " Tổng cộng {total}.",
        "ru": " Всего {total}.",
    },
    "more": {
        "en": " Items: {count}. The most expensive is {name} for {price}.",
        "pl": " Liczba pozycji: {count}. Najdroższe: {name}, {price}.",
        "vi": " Số món: {count}. Đắt nhất là {name}, giá {price}.",
        "ru": " Позиций: {count}. Самое дорогое: {name}, {price}.",
    },
    "positive": {
        "en": " A good and useful purchase.",
        "pl": " To dobre i przydatne zakupy.",
        "vi": " Một lần mua sắm tốt và có ích.",
        "ru": " Хорошая и полезная покупка.",
    },
    "negative": {
        "en": " An expensive and needless purchase.",
        "pl": " To drogie i zbędne zakupy.",
        "vi": " Một lần mua sắm đắt và không cần thiết.",
        "ru": " Дорогая и ненужная покупка.",
    },
}

TONES: Table = {  # what is added to the question for a tone; the factual tone adds nothing
    "positive": {
        "en": "Be positive.|Use a positive tone.|In a friendly tone.|Say it in a positive way.|Sound pleased.||"
        "Put it in a positive way, please.|Keep the tone upbeat.|Say it with enthusiasm.|"
        "Sound pleased about it.",
        "pl": "Pisz pozytywnie.|W pozytywnym tonie.||W miłym tonie.",
        "vi": "Hãy viết tích cực.|Với giọng tích cực.||Với giọng vui vẻ.",
        "ru": "Пиши положительно.|В положительном тоне.||В добром тоне.",
    },
    "negative": {
        "en": "Be negative.|Use a negative tone.|In a critical tone.|Say it in a negative way.|"
        "Sound displeased.||Put it in a negative way, please.|Keep the tone critical.|"
        "Say it with displeasure.|Sound unhappy about it.",
        "pl": "Pisz negatywnie.|W negatywnym tonie.||W niechętnym tonie.",
        "vi": "Hãy viết tiêu cực.|Với giọng tiêu cực.||Với giọng chê bai.",
        "ru": "Пиши отрицательно.|В отрицательном тоне.||В недовольном тоне.",
    },
}

CARD: Table = {
    "fields": {language: text.replace("{paper}", "card") for language, text in _EXTRACT.items()},
    "summary": {
        "en": "Describe the card.|What is on the card?|Summarise the card.|Describe this picture.|"
        "Tell me about this card.|Whose card is this?|What does the picture show?|"
        "Give a description of the card.|Put the card into words.|Explain what this card says.|"
        "Who is the holder of this card?||What can you say about this card?|"
        "Give me a short description of the card.|Could you summarise this card in words?",
        "pl": "Opisz kartę.|Co jest na karcie?|Streść kartę.|Opisz obrazek.|Czyja to karta?||"
        "Opowiedz, co jest na tej karcie.",
        "vi": "Mô tả thẻ.|Trên thẻ có gì?|Tóm tắt thẻ.|Mô tả ảnh này.|Thẻ của ai?||Hãy nói về thẻ này.",
        "ru": "Опиши карточку.|Что на карточке?|Кратко изложи карточку.|Опиши картинку.|Чья это карточка?||"
        "Расскажи, что на этой карточке.",
    },
    "unknown": {
        "en": "What is the person's phone number?|How tall is this person?|Is this person married?|"
        "What is the person's job?|Who took the photo?|What is the e-mail address?|"
        "Has the holder any children?|What is the holder's favourite food?|Does this person like music?|"
        "What is the home address?|Is the holder a politician?||"
        "Which phone number does this person have?|Tell me the holder's telephone number.|"
        "What number can I call this person on?|Phone number of the card holder, please.",
        "pl": "Jaki jest numer telefonu tej osoby?|Jaki wzrost ma ta osoba?|Jaki zawód ma ta osoba?|"
        "Jaki jest adres e-mail?|Czy ta osoba ma dzieci?||Jaki jest adres domowy?",
        "vi": "Số điện thoại của người này là gì?|Người này cao bao nhiêu?|Người này làm nghề gì?|"
        "Địa chỉ email là gì?|Người này có con không?||Địa chỉ nhà là gì?",
        "ru": "Какой номер телефона у этого человека?|Какой рост у этого человека?|Кем работает этот человек?|"
        "Какой адрес электронной почты?|Есть ли у него дети?||Какой домашний адрес?",
    },
    "name": {
        "en": "What is the first name?|What is the given name?|Which first name is on the card?|First name?|"
        "Tell me the first name.|What is the person's first name?|Give the given name.|Name?|"
        "How is this person called by friends?|Which given name is printed?|"
        "Can you read the first name?||What is the given name on the card?|"
        "Tell me the person's first name.|First name of the holder?|"
        "Which first name is printed here, please?",
        "pl": "Jakie imię jest na karcie?|Jakie to imię?|Podaj imię.|Jak ma na imię ta osoba?||Jakie imię tu widnieje?",
        "vi": "Tên là gì?|Tên trên thẻ là gì?|Cho biết tên.|Người này tên gì?||Tên nào được in trên thẻ?",
        "ru": "Какое имя на карточке?|Какое имя?|Назови имя.|Как зовут этого человека?||Какое имя здесь стоит?",
    },
    "surname": {
        "en": "What is the surname?|What is the family name?|Which surname is on the card?|Surname?|"
        "Tell me the surname.|What is the person's last name?|Give the family name.|"
        "What is the last name?|Which family name is printed?|Can you read the surname?|"
        "What is this person's family called?||What is the family name on the card?|"
        "Tell me the person's last name.|Surname of the holder?|Which last name is printed here, please?",
        "pl": "Jakie jest nazwisko?|Jakie nazwisko jest na karcie?|Podaj nazwisko.|Jak nazywa się ta osoba?||"
        "Jakie nazwisko tu widnieje?",
        "vi": "Họ là gì?|Họ trên thẻ là gì?|Cho biết họ.|Người này họ gì?||Họ nào được in trên thẻ?",
        "ru": "Какая фамилия?|Какая фамилия на карточке?|Назови фамилию.|Как фамилия этого человека?||"
        "Какая фамилия здесь стоит?",
    },
    "number": {
        "en": "What is the card number?|What is the number of the card?|Which number is on the card?|"
        "Card number?|Tell me the number.|What number does the card have?|Give the card number.|"
        "What is the document number?|Which number is printed?|Can you read the number?|"
        "Under what number is this card registered?||Which number does this card have?|"
        "Read me the number of the card.|Card no.?|Could you tell me the card's number?",
        "pl": "Jaki jest numer karty?|Jaki numer jest na karcie?|Podaj numer.|Jaki to numer dokumentu?||"
        "Jaki numer tu widnieje?",
        "vi": "Số thẻ là gì?|Số trên thẻ là bao nhiêu?|Cho biết số thẻ.|Thẻ số mấy?||Số nào được in trên thẻ?",
        "ru": "Какой номер карточки?|Какой номер на карточке?|Назови номер.|Какой номер документа?||"
        "Какой номер здесь стоит?",
    },
    "birth_date": {
        "en": "What is the date of birth?|When was the person born?|Which birth date is on the card?|"
        "Birth date?|Tell me the date of birth.|What is the birthday?|Give the date of birth.|"
        "When is the birthday?|On which day was the holder born?|Can you read the birth date?|"
        "Which date of birth is printed?||When was this person born?|Tell me the holder's birth date.|"
        "Birthday on the card?|Which date of birth is given here, please?",
        "pl": "Jaka jest data urodzenia?|Kiedy urodziła się ta osoba?|Podaj datę urodzenia.|"
        "Jaka data urodzenia jest na karcie?||Kiedy są urodziny?",
        "vi": "Ngày sinh là gì?|Người này sinh ngày nào?|Cho biết ngày sinh.|Ngày sinh trên thẻ là gì?||"
        "Sinh nhật là ngày nào?",
        "ru": "Какая дата рождения?|Когда родился этот человек?|Назови дату рождения.|"
        "Какая дата рождения на карточке?||Когда день рождения?",
    },
    "country": {
        "en": "Which country is it?|What is the country?|Which country is on the card?|Country?|"
        "Tell me the country.|What country is the card from?|Give the country.|Where is the person from?|"
        "Which state issued this?|Can you read the country?|What land is named on the card?||"
        "What country is this card from?|Tell me the country on the card.|Which country issued this?|"
        "Country named on the card, please.",
        "pl": "Jaki to kraj?|Jaki kraj jest na karcie?|Podaj kraj.|Z jakiego kraju jest karta?||Jaki kraj tu widnieje?",
        "vi": "Nước nào?|Trên thẻ ghi nước nào?|Cho biết nước.|Thẻ của nước nào?||Quốc gia nào được in trên thẻ?",
        "ru": "Какая страна?|Какая страна на карточке?|Назови страну.|Из какой страны карточка?||"
        "Какая страна здесь стоит?",
    },
    # answers
    "head": {"en": "A card: {title}.", "pl": "Karta: {title}.", "vi": "Thẻ: {title}.", "ru": "Карточка: {title}."},
    "holder": {
        "en": " Holder: {who}.",
        "pl": " Posiadacz: {who}.",
        "vi": " Chủ thẻ: {who}.",
        "ru": " Владелец: {who}.",
    },
    "born": {
        "en": " Date of birth: {date}.",
        "pl": " Data urodzenia: {date}.",
        "vi": " Ngày sinh: {date}.",
        "ru": " Дата рождения: {date}.",
    },
    "numbered": {"en": " Number: {n}.", "pl": " Numer: {n}.", "vi": " Số: {n}.", "ru": " Номер: {n}."},
    "home": {"en": " Country: {land}.", "pl": " Kraj: {land}.", "vi": " Nước: {land}.", "ru": " Страна: {land}."},
}
