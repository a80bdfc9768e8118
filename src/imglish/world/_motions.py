"""The words of `clip`: what moves, appears and disappears, in four languages, and the ways to ask about it."""

from __future__ import annotations

from imglish.world._changes import WAYS, start
from imglish.world._forms import Table
from imglish.world._scene import Language
from imglish.world._words import article, gender, phrase

TABLE: Table = {
    "way": {
        "en": "Which way does {thing} move?|In which direction does {thing} move?|Where does {thing} go?|"
        "Where is {thing} moving?|Which direction is {thing} moving in?|Which way is {thing} going?|"
        "Does {thing} move left, right, up or down?|What is the direction in which {thing} travels?|"
        "Towards which side does {thing} move?|Which way does {thing} travel?|Where is {thing} heading?||"
        "In what direction does {thing} move?|Tell me the direction {thing} is going.|"
        "Direction of travel of {thing}, please.",
        "pl": "W którą stronę porusza się {thing}?|Dokąd przesuwa się {thing}?|"
        "W jakim kierunku porusza się {thing}?|W którą stronę przesuwa się {thing}?||Dokąd zmierza {thing}?|"
        "W jakim kierunku jedzie {thing}?",
        "vi": "{thing} di chuyển về hướng nào?|{thing} đi về đâu?|{thing} đang di chuyển theo hướng nào?|"
        "Hướng di chuyển của {thing} là gì?||{thing} đi theo hướng nào?",
        "ru": "Куда движется {thing}?|В какую сторону движется {thing}?|В каком направлении движется {thing}?|"
        "Куда перемещается {thing}?||В какую сторону перемещается {thing}?",
    },
    "mover": {
        "en": "What moves?|Which thing moves?|What is moving?|What is in motion?|Which object is moving?|"
        "Name the thing that moves.|What changes its position?|Does anything move? What?|"
        "Which object changes its place?|What does not stay still?|What is not standing still?||"
        "Tell me what is in motion.|Name the thing that changes its position.|"
        "Can you see which thing moves?",
        "pl": "Co się porusza?|Która rzecz się porusza?|Co się przesuwa?|Co jest w ruchu?||Co zmienia miejsce?",
        "vi": "Cái gì di chuyển?|Vật nào di chuyển?|Cái gì đang chuyển động?|Thứ gì đang di chuyển?||"
        "Vật nào thay đổi vị trí?",
        "ru": "Что движется?|Какой предмет движется?|Что перемещается?|Что в движении?||Что меняет место?",
    },
    "moves": {
        "en": "Does {thing} move?|Is {thing} moving?|Is {thing} in motion?|Does {thing} change its place?|"
        "Is {thing} on the move?||Tell me whether {thing} moves or not.|"
        "Does {thing} change its position?|Do you see any movement of {thing}?",
        "pl": "Czy {thing} się porusza?|Czy {thing} się przesuwa?|Czy {thing} jest w ruchu?|"
        "Czy porusza się {thing}?||Czy {thing} zmienia miejsce?",
        "vi": "{thing} có di chuyển không?|{thing} có chuyển động không?|{thing} có đang di chuyển không?|"
        "{thing} có thay đổi chỗ không?||{thing} có thay đổi vị trí không?",
        "ru": "Движется ли {thing}?|{thing} движется?|Перемещается ли {thing}?|Меняет ли {thing} место?||"
        "Находится ли {thing} в движении?",
    },
    "happens": {
        "en": "What happens?|What happens in the video?|Describe what happens.|What is going on?|"
        "What happens in this clip?|Tell me what happens.|Describe the video.|Describe the clip.|"
        "What takes place in this video?|Summarise the clip.|What can be seen happening?||"
        "What is going on here over time?|Tell me what takes place.|"
        "Describe the events in this sequence.|Can you say what is happening from start to end?",
        "pl": "Co się dzieje?|Co się dzieje na filmie?|Opisz, co się dzieje.|Co dzieje się w tym klipie?||"
        "Powiedz, co się dzieje.",
        "vi": "Điều gì xảy ra?|Điều gì xảy ra trong video?|Mô tả điều xảy ra.|Chuyện gì đang diễn ra?||"
        "Hãy kể điều gì xảy ra.",
        "ru": "Что происходит?|Что происходит в видео?|Опиши, что происходит.|Что творится в этом ролике?||"
        "Расскажи, что происходит.",
    },
    "move_first": {
        "en": "What moves first?|Which thing moves first?|Which object moves first?|Tell me what moves first.|"
        "Name the thing that moves first.|What is the first thing that moves?||"
        "Which object starts to move before the others?|Name the first thing that moves.|"
        "What is the first to move?|Please tell me which thing moves before everything else.",
        "pl": "Co porusza się najpierw?|Która rzecz porusza się najpierw?|najpierw: co porusza się?|"
        "Powiedz, co porusza się najpierw.||Jaka rzecz porusza się najpierw?",
        "vi": "Cái gì di chuyển đầu tiên?|Vật nào di chuyển đầu tiên?|Thứ gì di chuyển đầu tiên?|"
        "Cho biết vật nào di chuyển đầu tiên.||Đồ vật nào di chuyển đầu tiên?",
        "ru": "Что движется сначала?|Какой предмет движется сначала?|сначала: что движется?|"
        "Скажи, что движется сначала.||Какая вещь движется сначала?",
    },
    "move_last": {
        "en": "What moves last?|Which thing moves last?|Which object moves last?|Tell me what moves last.|"
        "Name the thing that moves last.|What is the last thing that moves?||"
        "Which object starts to move after all the others?|Name the last thing that moves.|"
        "What is the last to move?|Please tell me which thing moves after everything else.",
        "pl": "Co porusza się na końcu?|Która rzecz porusza się na końcu?|na końcu: co porusza się?|"
        "Powiedz, co porusza się na końcu.||Jaka rzecz porusza się na końcu?",
        "vi": "Cái gì di chuyển cuối cùng?|Vật nào di chuyển cuối cùng?|Thứ gì di chuyển cuối cùng?|"
        "Cho biết vật nào di chuyển cuối cùng.||Đồ vật nào di chuyển cuối cùng?",
        "ru": "Что движется в конце?|Какой предмет движется в конце?|в конце: что движется?|"
        "Скажи, что движется в конце.||Какая вещь движется в конце?",
    },
    "appear_first": {
        "en": "What appears first?|Which thing appears first?|Which object appears first?|"
        "Tell me what appears first.|Name the thing that appears first.|"
        "What is the first thing that appears?||Which object shows up before the others?|"
        "Name the first thing to appear.|What comes into view first?|"
        "Please tell me which thing appears before everything else.",
        "pl": "Co pojawia się najpierw?|Która rzecz pojawia się najpierw?|najpierw: co pojawia się?|"
        "Powiedz, co pojawia się najpierw.||Jaka rzecz pojawia się najpierw?",
        "vi": "Cái gì xuất hiện đầu tiên?|Vật nào xuất hiện đầu tiên?|Thứ gì xuất hiện đầu tiên?|"
        "Cho biết vật nào xuất hiện đầu tiên.||Đồ vật nào xuất hiện đầu tiên?",
        "ru": "Что появляется сначала?|Какой предмет появляется сначала?|сначала: что появляется?|"
        "Скажи, что появляется сначала.||Какая вещь появляется сначала?",
    },
    "appear_last": {
        "en": "What appears last?|Which thing appears last?|Which object appears last?|"
        "Tell me what appears last.|Name the thing that appears last.|"
        "What is the last thing that appears?||Which object shows up after all the others?|"
        "Name the last thing to appear.|What comes into view last?|"
        "Please tell me which thing appears after everything else.",
        "pl": "Co pojawia się na końcu?|Która rzecz pojawia się na końcu?|na końcu: co pojawia się?|"
        "Powiedz, co pojawia się na końcu.||Jaka rzecz pojawia się na końcu?",
        "vi": "Cái gì xuất hiện cuối cùng?|Vật nào xuất hiện cuối cùng?|Thứ gì xuất hiện cuối cùng?|"
        "Cho biết vật nào xuất hiện cuối cùng.||Đồ vật nào xuất hiện cuối cùng?",
        "ru": "Что появляется в конце?|Какой предмет появляется в конце?|в конце: что появляется?|"
        "Скажи, что появляется в конце.||Какая вещь появляется в конце?",
    },
    "gone_first": {
        "en": "What disappears first?|Which thing disappears first?|Which object disappears first?|"
        "Tell me what disappears first.|Name the thing that disappears first.|"
        "What is the first thing that disappears?||Which object vanishes before the others?|"
        "Name the first thing to disappear.|What goes away first?|"
        "Please tell me which thing is gone before everything else.",
        "pl": "Co znika najpierw?|Która rzecz znika najpierw?|najpierw: co znika?|Powiedz, co znika najpierw.||"
        "Jaka rzecz znika najpierw?",
        "vi": "Cái gì biến mất đầu tiên?|Vật nào biến mất đầu tiên?|Thứ gì biến mất đầu tiên?|"
        "Cho biết vật nào biến mất đầu tiên.||Đồ vật nào biến mất đầu tiên?",
        "ru": "Что исчезает сначала?|Какой предмет исчезает сначала?|сначала: что исчезает?|"
        "Скажи, что исчезает сначала.||Какая вещь исчезает сначала?",
    },
    "gone_last": {
        "en": "What disappears last?|Which thing disappears last?|Which object disappears last?|"
        "Tell me what disappears last.|Name the thing that disappears last.|"
        "What is the last thing that disappears?||Which object vanishes after all the others?|"
        "Name the last thing to disappear.|What goes away last?|"
        "Please tell me which thing disappears after everything else.",
        "pl": "Co znika na końcu?|Która rzecz znika na końcu?|na końcu: co znika?|Powiedz, co znika na końcu.||"
        "Jaka rzecz znika na końcu?",
        "vi": "Cái gì biến mất cuối cùng?|Vật nào biến mất cuối cùng?|Thứ gì biến mất cuối cùng?|"
        "Cho biết vật nào biến mất cuối cùng.||Đồ vật nào biến mất cuối cùng?",
        "ru": "Что исчезает в конце?|Какой предмет исчезает в конце?|в конце: что исчезает?|"
        "Скажи, что исчезает в конце.||Какая вещь исчезает в конце?",
    },
}


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
