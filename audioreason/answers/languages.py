"""What the reader knows of languages, as data: numbers, units, answer words, denials. All of it is folded."""

# ruff: noqa: E501 - tables of words

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction

from audioreason.answers.fold import fold


def _set(*texts: str) -> frozenset[str]:
    return frozenset(fold(word).text for text in texts for word in text.split())


ARTICLES = frozenset(("a", "an", "the"))
PRONOUNS = _set("it he she that this there what who where here how let one")
# words written in more than one way, and the numerals that are words
SAME_WORDS = {
    "grey": "gray",
    "colour": "color",
    "percent": "%",
    "per-cent": "%",
    "ok": "okay",
    "fewer": "less",
    "without": "no",
}

_ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
# 1 is left out where the word is an article; so are words that are common in English ("due", "once", "elf")
_OTHER_NUMBERS = {
    "german": {
        2: "zwei",
        3: "drei",
        4: "vier",
        5: "fünf",
        6: "sechs",
        7: "sieben",
        8: "acht",
        9: "neun",
        10: "zehn",
        11: "elf",
        12: "zwölf",
        20: "zwanzig",
        30: "dreißig",
        100: "hundert",
    },
    "french": {
        2: "deux",
        3: "trois",
        4: "quatre",
        5: "cinq",
        7: "sept",
        8: "huit",
        9: "neuf",
        10: "dix",
        11: "onze",
        12: "douze",
        15: "quinze",
        20: "vingt",
        30: "trente",
    },
    "spanish": {
        2: "dos",
        3: "tres",
        4: "cuatro",
        5: "cinco",
        6: "seis",
        7: "siete",
        8: "ocho",
        9: "nueve",
        10: "diez",
        12: "doce",
        20: "veinte",
        30: "treinta",
    },
    "portuguese": {
        2: "dois duas",
        3: "três",
        4: "quatro",
        7: "sete",
        8: "oito",
        9: "nove",
        10: "dez",
        12: "doze",
        20: "vinte",
        30: "trinta",
    },
    "italian": {3: "tre", 4: "quattro", 5: "cinque", 7: "sette", 8: "otto", 10: "dieci", 20: "venti"},
    "russian": {
        1: "один одна одно",
        2: "два две",
        3: "три",
        4: "четыре",
        5: "пять",
        6: "шесть",
        7: "семь",
        8: "восемь",
        9: "девять",
        10: "десять",
        20: "двадцать",
    },
    "arabic": {
        2: "اثنان اثنين",
        3: "ثلاثة ثلاث",
        4: "أربعة أربع",
        5: "خمسة خمس",
        6: "ستة",
        7: "سبعة",
        8: "ثمانية",
        9: "تسعة",
        10: "عشرة",
    },
}


def _numbers() -> dict[str, Hashable]:
    found: dict[str, Hashable] = {word: Fraction(i) for i, word in enumerate(_ENGLISH.split())}
    found |= {word: Fraction(30 + 10 * i) for i, word in enumerate(_TENS.split())}
    found |= {
        "dozen": Fraction(12),
        "hundred": Fraction(100),
        "thousand": Fraction(1000),
        "million": Fraction(1_000_000),
    }
    for table in _OTHER_NUMBERS.values():
        for value, words in table.items():
            found |= {word: Fraction(value) for word in _set(words)}
    ordinals = (
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
        "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
    )
    found |= {word: ("ordinal", i + 1) for i, word in enumerate(ordinals.split())}
    return found


NUMBER_WORDS = _numbers()
BEFORE_PRONOUN_ONE = _set(
    "this that which first second third last other another each every no any some right correct best same "
    "next latter former only wrong final"
)
AFTER_PRONOUN_ONE = _set("who that of can could might may must should would hears")
AFTER_ONCE = _set("the he she it they you we i this that again more upon all")
HANGUL_NUMBERS = {
    "한": 1, "두": 2, "세": 3, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10,
}  # fmt: skip
HAN_DIGITS = {letter: i for i, letter in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
MEASURES = frozenset(
    "个次人声秒分点下位名种只条首段倍岁年月日号层级度遍回拍组轮件台辆块元张片场匹つ本枚頭头时小天句"
)

CURRENCIES = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yuan", "₹": "rupee"}


def _units() -> dict[str, tuple[str, Fraction]]:
    table: dict[tuple[str, Fraction], str] = {
        ("s", Fraction(1)): "s sec secs second seconds 秒 sekunde sekunden seconde secondes segundo segundos "
        "secondo secondi секунда секунды секунд 초",
        ("s", Fraction(1, 1000)): "ms millisecond milliseconds 毫秒",
        (
            "s",
            Fraction(60),
        ): "min mins minute minutes 分钟 minuten minuto minutos minuti минута минуты минут 분",
        (
            "s",
            Fraction(3600),
        ): "h hr hrs hour hours 小时 stunde stunden heure heures hora horas ora ore час часа часов",
        ("hz", Fraction(1)): "hz hertz 赫兹",
        ("hz", Fraction(1000)): "khz kilohertz",
        ("db", Fraction(1)): "db decibel decibels 分贝",
        ("bpm", Fraction(1)): "bpm",
        ("%", Fraction(1)): "%",
        ("time", Fraction(1)): "time times 次 回 번 раз раза fois veces vez vezes volte volta",
        ("dollar", Fraction(1)): "dollar dollars bucks",
        ("euro", Fraction(1)): "euro euros",
        ("pound", Fraction(1)): "pounds pound",
        ("yuan", Fraction(1)): "yuan 元",
        ("°c", Fraction(1)): "°c",
        ("year", Fraction(1)): "year years",
        ("semitone", Fraction(1)): "semitone semitones",
        ("g", Fraction(1)): "g gram grams 克",
        ("g", Fraction(1000)): "kg kilogram kilograms 公斤",
        ("m", Fraction(1)): "m meter meters metre metres 米",
        ("m", Fraction(1000)): "km kilometer kilometers kilometre kilometres 公里",
    }
    found: dict[str, tuple[str, Fraction]] = {}
    for unit, words in table.items():
        found |= dict.fromkeys(_set(words), unit)
    found |= {
        "beats per minute": ("bpm", Fraction(1)),
        "per cent": ("%", Fraction(1)),
        "degrees celsius": ("°c", Fraction(1)),
    }
    return found


UNITS = _units()
RANGE_WORDS = _set("to through until till bis à 至 到 до")
KEYS = _set(
    "major minor maj min sharp flat natural m dur moll mixolydian dorian lydian phrygian aeolian chord "
    "note key"
)

# --- words that announce an answer ---

# nouns that head an answer: "ANSWER:", "Antwort:", "答案："
ANSWER_NOUNS: dict[str, str] = {
    "english": "answer|response|conclusion|verdict|prediction|selection|solution|decision|judge?ment"
    "|best guess|guess|final(?=\\s?[:*])",
    "german": "antwort|lösung|ergebnis",
    "french": "réponse|conclusion|solution",
    "spanish": "respuesta|conclusión|solución",
    "portuguese": "resposta|conclusão|gabarito",
    "italian": "risposta|soluzione|conclusione",
    "russian": "ответ|вывод|итог",
    "arabic": "الإجابة|الاجابة|الجواب|إجابة|جواب|الجواب النهائي",
    "dutch": "antwoord",
    "polish": "odpowiedź",
    "turkish": "cevap|yanıt",
    "vietnamese": "đáp án|câu trả lời",
    "indonesian": "jawaban",
    "hindi": "उत्तर|जवाब",
    "chinese": "答案|回答|结论|答",
    "japanese": "答え|正解|解答|結論|こたえ",
    "korean": "정답|답변|답안|답|해답|결론",
}  # fmt: skip
# nouns of an option, which state an answer only with an adjective before or a letter behind
OPTION_NOUNS: dict[str, str] = {
    "english": "options?|choices?|candidate|label|letter|alternative|match|pick",
    "german": "option|auswahl|wahl|buchstabe|antwortmöglichkeit",
    "french": "option|choix|lettre|proposition",
    "spanish": "opción|alternativa|letra|inciso|elección",
    "portuguese": "opção|alternativa|letra|escolha",
    "italian": "opzione|lettera|scelta|alternativa",
    "russian": "вариант(?: ответа)?|выбор|буква|пункт",
    "arabic": "الخيار|الاختيار|خيار|الحرف",
    "dutch": "optie|keuze",
    "polish": "opcja",
    "chinese": "选项|选择|项",
    "japanese": "选択肢|选択|番号",
    "korean": "선택지|보기|선택",
}
# adjectives that make a noun the answer
RIGHT_WORDS: dict[str, str] = {
    "english": "correct|right|best|final|most (?:likely|probable|plausible|accurate|appropriate|suitable"
    "|fitting"
    "|reasonable)|likeliest|likely|accurate|appropriate|proper|true|my|chosen|selected|suitable|overall"
    "|correct final|closest",
    "german": "richtige[nr]?|korrekte[nr]?|beste|meine|endgültige|wahrscheinlichste",
    "french": "bonne|correcte?|juste|finale?|ma|meilleure?|exacte?|plus probable",
    "spanish": "correcta|correcto|final|mi|mejor|adecuada|más probable",
    "portuguese": "correta|certa|final|minha|melhor|mais provável",
    "italian": "corretta|giusta|esatta|finale|mia|migliore|più probabile",
    "russian": "правильный|верный|мой|окончательный|итоговый|правильная",
    "arabic": "الصحيحة|الصحيح|النهائية|النهائي",
    "chinese": "正确的?|最终的?|最佳的?|最合适的?|最可能的?|标准|参考|本题的?|我的",
    "japanese": "正しい|最终的な|最も适切な|最も適切な|适切な|適切な|最终",
    "korean": "올바른|정확한|최종|가장 적절한|맞는|옳은",
}
# what stands between the noun and the answer
COPULAS: dict[str, str] = {
    "english": "is|was|would be|should be|must be|will be|has to be|seems to be|appears to be|could only be"
    "|can only be|ought to be|remains|comes out as|is likely|equals",
    "german": "ist|lautet|wäre|muss|dürfte",
    "french": "est|serait|doit être",
    "spanish": "es|sería|debe ser|está|seria",
    "portuguese": "é|seria|deve ser",
    "italian": "è|sarebbe|deve essere",
    "russian": "это|является|будет|есть",
    "arabic": "هو|هي|هى",
    "dutch": "is",
    "polish": "to",
    "vietnamese": "là",
    "indonesian": "adalah",
    "hindi": "है",
    "chinese": "应该是|应当是|应是|应该为|应为|应该选择?|应选|是|为|选择?",
    "japanese": "は|が",
    "korean": "은|는|이|가",
}
# adverbs and fillers between the copula and the answer, skipped in any number
FILLERS: dict[str, str] = {
    "english": "therefore|thus|hence|then|clearly|definitely|indeed|most likely|likely|probably|most probably"
    "|certainly|obviously|simply|in fact|actually|that|option|choice|answer|letter|the|is|it is|it's|as "
    "follows"
    "|still|of course|candidate|number|going to be|would be|there (?:is|are)|they are|this is|surely|just"
    "|only|either way|so|perhaps|maybe|possibly"
    "|correct|right|best|final|my|category|label|class",
    "german": "also|daher|somit|wahrscheinlich|eindeutig|option|antwort|die|der|das|buchstabe|den|ein"
    "|eine|einen",
    "french": "donc|probablement|clairement|l'|la|le|les|l'option|option|réponse|un|une|lettre|bien|la "
    "lettre",
    "spanish": "la|el|los|las|opción|letra|por lo tanto|probablemente|claramente|un|una|inciso|entonces",
    "portuguese": "a letra|letra|opção|o|os|as|provavelmente|portanto|alternativa|um|uma",
    "italian": "la|il|lo|l'|lettera|opzione|quindi|probabilmente|un|una|un'",
    "russian": "вариант|под буквой|вероятно|скорее всего|буква|это|пункт",
    "arabic": "الخيار|الحرف|رقم|هو|هي",
    "chinese": "选项|选择?|是|为|应该?|第|字母|就|:",
    "japanese": "选択肢|「|は|番号|の",
    "korean": "선택지|보기|옵션",
}
# "I choose", "我选", "ich wähle": what follows is the answer
CHOOSING = (
    r"(?:i(?:'d|'ll| would| will| can| must| have to)?(?: (?:therefore|thus|also|then|finally|hence|still"
    r"|now|confidently|just|have to|want to|like to|opt to|tentatively))*"
    r"|i'?m(?: am)?(?: therefore| still)?|i am|let'?s|we|so|therefore,?|thus,?|hence,?|and|but|,|;|\A"
    r"|\n)\s{0,3}"
    r"(?:choos(?:e|ing)|pick(?:ing)?|select(?:ing)?|go(?:ing)? (?:with|for)|opt(?:ing)? for|vote for"
    r"|settl(?:e|ing) (?:on|for)"
    r"|lean(?:ing)? (?:towards?|to)|conclude(?: that)?|conclud(?:e|ing)(?: that)?|guess(?:ing)?|chose"
    r"|picked|selected|decide(?:d)? (?:on|for)|bet on|stick(?:ing)? with)\b"
    r"|ich (?:wähle|entscheide mich für|nehme|tippe auf|würde sagen)"
    r"|je (?:choisis|dirais|sélectionne|réponds)|mon choix est"
    r"|(?:elijo|escojo|selecciono|me quedo con|elegiría|yo diría|mi elección es)"
    r"|(?:escolho|eu escolho|seleciono|fico com|eu diria)"
    r"|(?:scelgo|seleziono|opto per|direi)"
    r"|(?:я выбираю|выбираю|я выберу|я бы выбрал|я думаю,? что это)"
    r"|(?:أختار|اختار|سأختار)"
    r"|(?:(?:我|故|因此|所以|应该?|答案|则|应当|最终|就|因而|后|,|\A|\n)\s?选择?(?:的是|了|项|择)?|我认为是|我选)"
    r"|(?:を选びます|を选択します)"
)
# cues that make what precedes them the answer: "B is correct", "选项B是正确的", "Bが正解"
CONFIRMING = (
    r"\s{0,2}(?:(?:is|are|was|would be|must be|should be|seems|looks|appears|seems to be|appears to be"
    r"|has to be)"
    r"(?: (?:clearly|therefore|thus|definitely|also|indeed|likely|obviously|hence|then|probably|certainly"
    r"|really|most|more|very likely|the only one that is))*"
    r"(?: the)?(?: (?:only|single|one|most))?"
    r" (?:correct|right|best(?! of)|true|answer|likely|accurate|plausible|appropriate|consistent|suitable"
    r"|fitting)(?: (?:answer|option|choice|one|match|fit|candidate|response|description|explanation"
    r"|interpretation))?\b"
    r"|(?:fits|matches|describes|explains|captures|suits)(?: (?:this|it|the \w+(?: \w+)?|what (?:i|we) "
    r"hear))? (?:best|perfectly|better|most (?:closely|accurately))"
    r"|is my (?:final )?(?:answer|choice|pick|selection)|it is\b(?=[.!]?\s*\Z)"
    r"|(?:ist|wäre) (?:die )?(?:richtige?|korrekte?|beste)|est (?:la )?(?:bonne|correcte?|juste|meilleure?"
    r"|exacte?)"
    r"|es (?:la |el |lo )?(?:opción |respuesta )?(?:correct[ao]|adecuada)|é (?:a )?(?:correta|certa"
    r"|resposta)|è (?:la )?(?:risposta |opzione )?(?:corretta|giusta|esatta)"
    r"|(?:является )?(?:правильн|верн)(?:ый|ая|ое)(?: ответ| вариант)?|(?:هو|هي) (?:الإجابة|الاجابة|الجواب"
    r"|الخيار)? ?الصحيحة?"
    r"|(?:项)?(?:是|为)(?:最)?(?:正确|对|符合|合适)|(?:项)?正确|(?:项)?(?:最)?符合"
    r"|(?:が|は)(?:正解|正しい|最も適切|最も适切|适切|適切|答え)|を选(?:び|択)|(?:이|가|은|는)? ?(?:정답|맞|옳|올바|정확|답)(?!이? ?아)"
    r")"
)

# --- words that deny, doubt and correct ---

DENIALS = _set(
    "not no never neither nor without unlike except excluding exclude excludes excluded eliminate eliminates "
    "eliminated eliminating lack lacks lacking absence hardly doubt doubtful unlikely barely scarcely hardly "
    "nicht kein keine keinen keiner weder ohne pas ni sans aucun aucune ningún ninguna sin nem não sem "
    "nenhum "
    "nessun nessuno nessuna senza не ни без нет ليس ليست لا ليسوا بدون nunca jamais niemals mai"
)
DENYING_PHRASES = (
    "rather than", "instead of", "anything but", "all but", "everything but", "rule out", "ruled out",
    "ruling out", "rules out", "as opposed to", "far from", "free of", "no longer", "other than",
)  # fmt: skip
# characters of scripts without spaces that deny what follows within a few characters
DENIALS_BEFORE = (
    "不是",
    "并非",
    "不属于",
    "没有",
    "不可能是",
    "而非",
    "排除",
    "不会是",
    "并不是",
    "无",
    "不像",
    "不选",
    "不",
    "未",
)
DENIALS_BEHIND = (
    "ではな", "じゃな", "ではあり", "でない", "じゃあり", "はありま", "は聞こえ", "が 아니", "이 아니", "가 아니", "은 아니", "는 아니",
    "아니", "아닙", "아닌", "않", "不对", "错误", "不正确", "不符合", "被排除", "可以排除", "不太可能", "不成立", "不合适", "は違",
    "は间違", "は不正解", "では无",
)  # fmt: skip
DENIED_BEHIND = (
    r"(?:is|are|was|were|can be|could be|would be|be|being|seems?|sounds?|looks?|appears?|has been|have "
    r"been|does|do|did|can|could|has|gets?"
    r"|would|must be|may be|[\"']?:\s?[\"']?|-|\||=|option|answer|as)?\s*"
    r"(?:(?:clearly|also|therefore|definitely|very|quite|probably|thus|simply|just|far|completely|all|both"
    r"|then|be|likely|the) )*"
    r"(?:not\b|incorrect|wrong|false\b|unlikely|ruled out|excluded|eliminated|dismissed|rejected|discarded"
    r"|out\b(?! (?:of|loud))|absent|missing|impossible|implausible"
    r"|improbable|inaudible|inconsistent|irrelevant|unsupported|no\b|❌|✗|✘|✖|×|❎|🚫|👎|less (?:likely"
    r"|plausible|fitting)|too \w+|doesn't|didn't|isn't|falsch|ausgeschlossen"
    r"|faux|fausse|incorrecte?|falso|falsa|errad[ao]|sbagliat[ao]|неверн|неправильн|исключ|خطأ|خاطئ)"
)
COUNTERFACTUAL = r"(?:would|might)\b(?! (?:be (?:the |my )?(?:correct|best|right|most|answer|my)|fit|match|go|say|explain))|normally|typically|usually"
HEDGES = _set(
    "maybe perhaps possibly might could may initially thought considered considering considers either "
    "whether suggests first-impression if tempting versus vs between possible vielleicht entweder könnte "
    "zuerst peut-être soit quizás talvez forse может возможно либо seemed"
)
HEDGING_PHRASES = (
    "at first",
    "first thought",
    "first impression",
    "could have been",
    "would be if",
    "one might",
    "i said",
    "first chose",
    "first picked",
    "i first",
)
HEDGES_BEHIND = r"(?:is|are|seems?|was|were|sounds?)?\s*(?:also |initially |equally |remotely |somewhat )*(?:possible|plausible|conceivable|tempting|considered|a possibility|an option|my first)|\?"
CONTRASTS = _set(
    "but however instead sondern aber mais sino pero mas ma bensì а но بل yet rather hence therefore so "
    "thus leaves leaving left remains "
    "leave"
)
CONTRASTS_CJK = ("而是", "但", "所以", "因此", "なく", "라", "而", "选", "后", "剩")
CORRECTIONS = (
    r"\bwait\b|\bactually\b|\bcorrection\b|\bscratch that\b|\bi (?:meant|mean)\b|\bno,|\bno(?=\s*(?:[:;]"
    r"|-\s|\.\.\.))|\bnope\b|\bon (?:second thought|reflection|closer)"
    r"|\bor rather\b|\bsorry\b|\bhmm+\b|\blet me (?:re|correct|listen|check|think)|\bmore precisely\b"
    r"|\bbut then\b"
    r"|(?<!\S)=(?!\S)|不对|等等|更正|不,|其实|いや|待って|違い|아니,|잠깐|moment mal|warte|halt,|attends|pardon|espera|perdón|aspetta|подожди"
    r"|нет,"
)
CONCLUSIONS = (
    r"\b(?:so|therefore|thus|hence|overall|consequently|accordingly|in conclusion|to conclude|in summary"
    r"|in short|conclusion|ultimately|altogether|in total|finally|by elimination"
    r"|which is(?! (?:\w+er|more|less|not|too|very|so)\b)|remaining (?:one|option|choice)|the only (?:one|option|choice|candidate) (?:left|remaining|that (?:is|remains))"
    r"|this (?:indicates|means|suggests|points to|confirms|implies|makes|leaves|corresponds to)|that "
    r"(?:makes|leaves|means)|which (?:leaves|means|makes|indicates|suggests)|leav(?:es|ing)|it must|must "
    r"be|has to be"
    r"|points to|corresponds to|best candidate|best guess|i conclude|most likely|most probably|clearly"
    r"|definitely|daher|folglich|somit|deshalb|donc|ainsi|por lo tanto|por tanto|así que|entonces"
    r"|portanto|logo|assim"
    r"|quindi|dunque|pertanto|поэтому|следовательно|итак|значит|لذلك|إذن|لذا)\b|因此|所以|综上|故|よって|したがって|だから"
    r"|つまり|따라서|그러므로|그래서|결론"
)
DECLINING = (
    r"(?:can(?:no|')t|cannot|can not|could not|couldn't|unable to|not able to|not possible to|impossible "
    r"to|hard to|difficult to|don't|do not|won't|not enough \w+ to|insufficient \w+ to)"
    r" (?:be )?(?:\w+ly )?(?:determine|tell|say|decide|choose|answer|identify|know|be sure|hear|conclude"
    r"|judge|distinguish|be certain|access|process|listen|analy[sz]e|help|assist|confirm|pick|infer)"
    r"|\b(?:unknown|n/a|not sure|unsure|undetermined|unclear|no answer|no idea|inconclusive|not applicable"
    r"|insufficient information|not enough information|uncertain)\b"
    r"|\bnull\b|无法(?:确定|判断|回答|识别|听|得知|选择)|不(?:知道|确定|清楚)|分か(?:りません|らない)|わか(?:りません|らない)|判断できません|특정할 수 없|알 수 "
    r"없|모르"
    r"|weiß (?:es )?nicht|kann (?:ich )?nicht|je ne (?:sais|peux)|no (?:sé|puedo|lo sé)|não (?:sei|posso)"
    r"|non (?:so|posso)|не (?:знаю|могу)|لا (?:أعرف|أستطيع|يمكن)"
    r"|none of (?:the|these|those|them)|neither of (?:the|these|them)|以上都不是|都不(?:是|对)|keine der|aucune? "
    r"(?:des|de)|ninguna de|nenhuma das|nessuna delle|ни один из"
)
# kinds of choices that name no sound themselves
SPECIAL = {
    "none": r"none of (?:the|these|those|them|above)\b|none\Z|\bnone (?:apply|applies|fits?|match)|no "
    r"option|no correct|neither of (?:the|them|these)|以上都不是|以上皆非|都不是|keine der|aucune (?:de|des)|ninguna "
    r"de|nenhuma das|nessuna delle",
    "all": r"all (?:of )?(?:the )?(?:above|these|them|three|four|options|of them)|all of (?:the above"
    r"|them|these)|以上都是|以上皆是|都是|alle genannten|toutes les|todas las|todas as|tutte le",
    "both": r"\bboth\b|两者都|都有|\b(?:beide|les deux|ambos|ambas|entrambi|оба|обе)\b",
    "neither": r"\bneither\b|两者都不|weder noch|aucun des deux|ninguno|nenhum dos dois|nessuno dei due|ни тот",
    "unknown": r"can(?:not|'t| not) (?:be )?(?:determined?|tell|say|know)|undeterm|unknown|not enough "
    r"information|unclear|impossible to (?:tell|say|determine)|not (?:given|mentioned|stated|sure"
    r"|possible to)|uncertain|无法(?:确定|判断)",
}

# --- words of choices ---

COMMON = frozenset(
    [
        "yes",
        "no",
        "not",
        "none",
        "go",
        "all",
        "any",
        "in",
        "on",
        "up",
        "off",
        "out",
        "now",
        "can",
        "may",
        "so",
        "he",
        "she",
        "him",
        "her",
        "his",
        "it",
        "me",
        "we",
        "us",
        "you",
        "they",
        "true",
        "false",
        "both",
        "neither",
        "i",
        "other",
        "same",
        "one",
        "stop",
        "high",
        "low",
        "left",
        "right",
    ]
)

ORDINALS = {
    word: n for n, words in enumerate(
        ("first 1st erste ersten première premier primera primero primeira primeiro prima primo первый первая",
         "second 2nd zweite zweiten deuxième seconde segunda segundo seconda secondo второй вторая",
         "third 3rd dritte dritten troisième tercera tercero terceira terceiro terza terzo третий третья",
         "fourth 4th vierte vierten quatrième cuarta cuarto quarta quarto четвертый четвертая",
         "fifth 5th fünfte cinquième quinta quinto пятый", "sixth 6th sechste", "seventh 7th", "eighth 8th"), 1)
    for word in words.split()
}  # fmt: skip

SCRIPT_ORDINALS = {"一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5}

BETWEEN = frozenset(
    [
        "who",
        "that",
        "which",
        "is",
        "are",
        "was",
        "were",
        "and",
        "then",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "with",
        "very",
        "quite",
        "really",
        "also",
        "has",
        "had",
        "have",
        "been",
        "being",
        "be",
        "her",
        "his",
        "their",
        "its",
        "it",
        "he",
        "she",
        "they",
        "just",
        "more",
        "so",
        "as",
        "from",
        "for",
        "into",
        "out",
        "his",
        "own",
        "one",
        "'s",
    ]
)

RELATED = {
    "angry": "anger", "angrily": "anger", "joyful": "joy", "joyous": "joy", "joyfully": "joy", "fearful": "fear",
    "afraid": "fear", "happily": "happy", "sadly": "sad", "surprised": "surprise", "disgusted": "disgust",
    "anxious": "anxiety", "calmly": "calm", "men": "man", "women": "woman", "children": "child", "people": "person",
    "excited": "excitement", "excitedly": "excitement", "frustrated": "frustration", "nervously": "nervous",
    "australia": "australian", "america": "american", "india": "indian", "britain": "british", "spain": "spanish",
    "italy": "italian", "portugal": "portuguese", "germany": "german", "france": "french", "japan": "japanese",
    "china": "chinese", "russia": "russian", "korea": "korean", "ireland": "irish", "scotland": "scottish",
    "broke": "break", "broken": "break", "spoke": "speak", "spoken": "speak", "sang": "sing", "sung": "sing",
    "ran": "run", "fell": "fall", "fallen": "fall", "drove": "drive", "driven": "drive", "threw": "throw",
    "thrown": "throw", "gave": "give", "given": "give", "took": "take", "taken": "take", "told": "tell",
    "bought": "buy", "sold": "sell", "woke": "wake", "forgot": "forget", "forgotten": "forget", "wrote": "write",
    "written": "write", "ate": "eat", "eaten": "eat", "stole": "steal", "stolen": "steal", "began": "begin",
    "came": "come", "rang": "ring", "hid": "hide", "hidden": "hide", "shouted": "shout", "won": "win",
    "male": "man", "female": "woman",
    "mexico": "mexican", "canada": "canadian", "brazil": "brazilian",
}  # fmt: skip

POSSESSIVES = _set("his her their my your our its")
SMALL_WORDS = _set("and of is are to it in was with then > by its be there on at this that i sounds answer")
