"""Text folded for comparison, with the place of every character in the text that it was made from. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# marks that belong to the character before them: accents, half-width voicing signs, Hangul vowels and finals
_MARKS = "\u0300-\u036f\u0483-\u0487\u20d0-\u20f0\u3099\u309a\uff9e\uff9f\u1160-\u11ff\u0653-\u0655"
_RUN = re.compile(
    rf"&(?:[A-Za-z]{{2,8}}\d?|#\d{{1,6}}|#[xX][0-9A-Fa-f]{{1,5}});|[\0-%'-\x7f]+(?![{_MARKS}])|.[{_MARKS}]*",
    re.DOTALL,
)
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4\u2039\u203a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d\u300e\u300f", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u2e3a\u2e3b\u301c\u30a0", "-"),
        **dict.fromkeys("\u2192\u21d2\u2794\u279c\u279d\u27a1\u27f6\u2b95\u2b62", "\u2192"),
        **dict.fromkeys("\u2028\u2029\u0085\x0b\x0c", "\n"),
        **dict.fromkeys("\u3010\u3014", "["),
        **dict.fromkeys("\u3011\u3015", "]"),
        "\u2044": "/",
        "\u3002": ".",
        "\u3001": ",",
        "\u060c": ",",
        "\u061b": ";",
        "\u061f": "?",
        "\u06d4": ".",
        "\u0964": ".",
        "\u266f": "#",
        # letters of Arabic that are written in more than one way
        **dict.fromkeys("\u0622\u0623\u0625\u0671", "\u0627"),
        "\u0649": "\u064a",
        "\u0451": "\u0435",
    }
)
# nothing to see: soft hyphens, zero-width signs, marks of direction, variation selectors, keycaps, Arabic
# and Hebrew vowel points, the tatweel
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u0640\u064b-\u0652\u0591-\u05bd\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\u20e3\ufe00-\ufe0f\ufeff]|\U0001f3fb|\U0001f3fc|\U0001f3fd|\U0001f3fe|\U0001f3ff"
)
_TRADITIONAL = str.maketrans(
    "聲鳥貓雞馬車門開關電話鐘錶腳步風雷語說話講聽見樂鋼彈鑼響輪機飛鐵軌動長間時個兩種號聯發單雙對錯沒無為這裡後來"
    "還選項確認應該從過給讓樣點顯際問題產業師學習員場館廳園國華東應緊張憤驚懼興奮傷愛靜緩強變節調當過進遠離廣遲體現實"
    "氣難賣買貨醫藥飯魚龍頭臉誰請謝讀寫畫簫歲歡樹橋燈熱溫濕陽陰雲務運錢銀鈴鍵鎖韓頻飲驗鬧爭獎獨環節範簡純級細結維線練總績繼續"
    "職膽舊藝蘋蟲術衛裝複覺觀計訊訓記許設試詩詞誤課論證識譜議護負財責費資賓賽贏趕跡較載輕輛輸農連達違遊郵鄉釣錄隊階隨險隻雜靈"
    "順預領顧飄駕騎騙髮鬥鴨鵝鴿齊齒嬰媽爺親屬島帶幫廚彎復惡悶慘慶慮憂戲戰戶拋掃採換損搖擊擔據擠擾敗數斷晝暫會筆紅綠藍黃將師嗎"
    "們來對兒吵",
    "声鸟猫鸡马车门开关电话钟表脚步风雷语说话讲听见乐钢弹锣响轮机飞铁轨动长间时个两种号联发单双对错没无为这里后来"
    "还选项确认应该从过给让样点显际问题产业师学习员场馆厅园国华东应紧张愤惊惧兴奋伤爱静缓强变节调当过进远离广迟体现实"
    "气难卖买货医药饭鱼龙头脸谁请谢读写画箫岁欢树桥灯热温湿阳阴云务运钱银铃键锁韩频饮验闹争奖独环节范简纯级细结维线练总绩继续"
    "职胆旧艺苹虫术卫装复觉观计讯训记许设试诗词误课论证识谱议护负财责费资宾赛赢赶迹较载轻辆输农连达违游邮乡钓录队阶随险只杂灵"
    "顺预领顾飘驾骑骗发斗鸭鹅鸽齐齿婴妈爷亲属岛带帮厨弯复恶闷惨庆虑忧戏战户抛扫采换损摇击担据挤扰败数断昼暂会笔红绿蓝黄将师吗"
    "们来对儿吵",
)


@dataclass(frozen=True, slots=True)
class Folded:
    """Folded text; `at[i]` is where character i stood before, None if nothing has moved."""

    text: str
    at: tuple[int, ...] | None
    length: int  # of the text before

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where the folded characters [start, end) stood before."""
        if self.at is None:
            return start, end
        if start >= end:
            position = self.at[start] if start < len(self.at) else self.length
            return position, position
        after = self.at[end] if end < len(self.at) else self.length
        return self.at[start], max(after, self.at[end - 1] + 1)


def fold(text: str) -> Folded:
    """NFKC, case folded, straight quotes, one kind of dash, simplified characters, nothing invisible.

    HTML entities are decoded; line ends stay.
    """
    if text.isascii() and "&" not in text:
        return Folded(_lines(text.lower()), None, len(text))
    parts: list[str] = []
    at: list[int] = []
    for match in _RUN.finditer(text):
        run, start = match[0], match.start()
        if run.isascii() and run[0] != "&":
            parts.append(_lines(run.lower()))
            at.extend(range(start, match.end()))
        elif part := _fold_cluster(run):
            parts.append(part)
            at.extend([start] * len(part))
    return Folded("".join(parts), tuple(at), len(text))


def _lines(text: str) -> str:
    """Line ends of every system as one character, at the same places."""
    return text.replace("\r\n", " \n").replace("\r", "\n") if "\r" in text else text


@lru_cache(maxsize=8192)
def _fold_cluster(cluster: str) -> str:
    """One character with its marks, or an entity, folded."""
    if cluster[0] == "&" and len(cluster) > 1:
        decoded = html.unescape(cluster)
        return fold(decoded).text if decoded != cluster else cluster.lower()
    flag = ord(cluster[0]) - 0x1F1E6  # letters of flags: 🇦 is written for A
    if 0 <= flag < 26:
        return f" {chr(ord('a') + flag)} "
    seen = _UNSEEN.sub("", cluster.translate(_SIGNS))
    plain = unicodedata.normalize("NFKC", seen).translate(_SIGNS).casefold()
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", plain)).translate(_TRADITIONAL)


_HTML = re.compile(
    r"</?(?P<name>b|i|u|p|s|a|em|strong|span|div|code|pre|br|hr|sub|sup|h[1-6]|li|ul|ol|td|tr|th|table"
    r"|tbody|thead"
    r"|mark|small|center|font|details|blockquote|html|body)(?:\s[^<>\n]{0,80})?/?>"
    r"|\\(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mathtt|emph|bf|rm|it"
    r"|displaystyle|large|bold|boldsymbol)\b\s?\{?"
)


def without_markup(folded: Folded) -> Folded:
    """HTML tags and LaTeX's fonts as spaces, so that every place stays where it is.

    `<b>` is a tag only where `</b>` is there too: some models write `<B>` for the option B.
    """
    text = folded.text
    if "<" not in text and "\\" not in text:
        return folded

    def blank(match: re.Match[str]) -> str:
        name = match["name"]
        if name and len(name) == 1 and f"</{name}>" not in text:
            return match[0]
        if name in ("br", "p", "div", "li", "tr"):
            return "\n".ljust(len(match[0]))
        return " " * len(match[0])

    return Folded(_HTML.sub(blank, text), folded.at, folded.length)
