"""Chinese numbers, dates, sums of money and telephone numbers, written as they are spoken; punctuation as spaces.

Each rule searches the text that the rules before it have left. Every match is then replaced at the *first* place where
its digits occur, which may belong to a longer number (in ``15和5个`` the 5 of 15). Published scores depend on it.

Source: behavior of Qwen2-Audio, eval_audio/cn_tn.py at 595360e (from speechio/chinese_text_normalization) with the
options of its evaluate_asr.py; implemented anew.
"""

import re
import string
from collections.abc import Callable

DIGITS = "零一二三四五六七八九"
UNIT_OF_POWER = dict(enumerate("十百千万", start=1)) | {
    4 * n: unit for n, unit in enumerate("亿兆京垓秭穰沟涧正载", start=2)
}
"""Power of ten -> its unit."""

TWO_BEFORE_UNIT = re.compile(
    rf"(?<![{DIGITS}十点])二(?=[{''.join(unit for unit in UNIT_OF_POWER.values() if unit != '十')}])"
)
"""A two that is read 两: before 百 or a larger unit, at the beginning or after such a unit."""

MEASURES = (
    "丈世丘丝两个丸代令件伏位冬出刀分刻勺匹升单卮厘双叠口只合名周啖回场块坡堂堆墙壳壶夏夜天头季客家寸对寻尺尾层山岁岭"
    "常幢年座张忽户手扎打担挑捆撮支斗斛斤日旬时春曲更月本条杯板枝根桶棵毫江泡溪炮煲片瓶盆盏盒盘石砣碗碟秋秒程窠笼管箩箱"
    "篮簋粒纪线罐网罗群脚腔袋袭课贯贴跳身辆辈道里针钟钧钱钵铢铺锅锱阙队阵面页顶颗首"
)
"""Measure words of one character; those of two are in ``QUANTITY``."""

NUMBER = re.compile(r"\d+(?:\.\d+)?")
DATE = re.compile(
    r"\D((?:[089]\d|(?:19|20)\d{2})年(?:\d{1,2}月(?:\d{1,2}[日号])?)?|\d{1,2}月(?:\d{1,2}[日号])?)"
)
COIN = "(?:亿|千万|百万|万|千|百|元|块|角|毛|分)"
MONEY = re.compile(rf"\D({NUMBER.pattern}[多余几]?{COIN}(?:\d{COIN}?)?)")
MOBILE = re.compile(r"\D((?:\+?86 ?)?1(?:[38]\d|5[0-35-9]|7[678]|9[89])\d{8})\D")
LANDLINE = re.compile(r"\D((?:0(?:10|2[1-3]|[3-9]\d{2})-?)?[1-9]\d{6,7})\D")
FRACTION = re.compile(r"(\d+/\d+)")
PERCENTAGE = re.compile(rf"({NUMBER.pattern}%)")
QUANTITY = re.compile(rf"({NUMBER.pattern})[多余几]?(?:[{MEASURES}]|[千微][克米])")
CODE = re.compile(r"(\d{4,32})")  # four digits or more that count nothing: read one by one
PLAIN_NUMBER = re.compile(f"({NUMBER.pattern})")
LATIN_TWO = re.compile(r"([a-zA-Z]+二[a-zA-Z]+)")  # B2B, which the rules before have changed


def _characters(*ranges: str) -> str:
    """Characters of ranges such as ``3001-3003``, in hexadecimal."""
    ends = [[int(end, 16) for end in one.split("-")] for one in ranges]
    return "".join(chr(code) for pair in ends for code in range(pair[0], pair[-1] + 1))


PUNCTUATION = string.punctuation + _characters(
    *("b7", "2013-2014", "2018-2019", "201b-201f", "2026-2027", "fe4f"),
    *("3001-3003", "3008-3011", "3014-301f", "3030", "303e-303f"),
    *("ff01-ff0d", "ff0f", "ff1a-ff20", "ff3b-ff40", "ff5b-ff64"),
)
TO_SPACE = str.maketrans(PUNCTUATION, " " * len(PUNCTUATION))


def spoken_chinese(text: str) -> str:
    """Replace numbers by words and punctuation by spaces.

    >>> spoken_chinese("2021年5月8日涨了12.5%，共2200元。").split()
    ['二零二一年五月八日涨了百分之十二点五', '共两千两百元']
    """
    spoken = f" {text} ".replace("％", "%")  # rules look at the characters before and after a number
    for pattern, read in RULES:
        for written in [match[1] for match in pattern.finditer(spoken)]:
            spoken = spoken.replace(written, read(written), 1)
    return spoken.translate(TO_SPACE)


def read_number(number: str) -> str:
    """Read a number with units, and its decimals one by one.

    >>> [read_number(number) for number in ("0", "12", "2022", "20002.50", "110", "007")]
    ['零', '十二', '两千零二十二', '两万零二点五零', '一百一十', '零七']
    """
    whole, point, decimals = number.partition(".")
    read = read_digits(whole) if len(whole) == 1 else TWO_BEFORE_UNIT.sub("两", _read_units(whole))
    if point:
        read = (read or DIGITS[0]) + "点" + read_digits(decimals)
    return read.removeprefix("一") if read.startswith("一十") else read


def _read_units(digits: str) -> str:
    """Read a whole number; zeros only are read as nothing."""
    rest = digits.lstrip("0")
    if not rest:
        return ""
    zero = DIGITS[0] if len(rest) < len(digits) else ""
    lower = ""
    while len(rest) > 1:
        power = max(power for power in UNIT_OF_POWER if power < len(rest))
        lower = UNIT_OF_POWER[power] + _read_units(rest[-power:]) + lower
        rest = rest[:-power]
    return zero + read_digits(rest) + lower


def read_digits(text: str) -> str:
    """Read the digits of a text one by one, and nothing else of it.

    >>> read_digits("+86 13")
    '八六一三'
    """
    return "".join(DIGITS[int(character)] for character in text if character.isdecimal())


def _read_date(date: str) -> str:
    year, separator, day = date.rpartition("年")
    return read_digits(year) + separator + NUMBER.sub(lambda match: read_number(match[0]), day)


def _read_money(money: str) -> str:
    for number in NUMBER.findall(money):
        money = money.replace(number, read_number(number))
    return money


def _read_fraction(fraction: str) -> str:
    numerator, _, denominator = fraction.partition("/")
    return f"{read_number(denominator)}分之{read_number(numerator)}"


def _read_percentage(percentage: str) -> str:
    return "百分之" + read_number(percentage.removesuffix("%"))


def _restore_two(word: str) -> str:
    return word.replace("二", "2")


RULES: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (DATE, _read_date),
    (MONEY, _read_money),
    (MOBILE, read_digits),
    (LANDLINE, read_digits),
    (FRACTION, _read_fraction),
    (PERCENTAGE, _read_percentage),
    (QUANTITY, read_number),
    (CODE, read_digits),
    (PLAIN_NUMBER, read_number),
    (LATIN_TWO, _restore_two),
)
"""Patterns, whose first group is replaced, with the function that reads it; in order."""
