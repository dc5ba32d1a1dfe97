import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_lm.metrics.spoken_chinese import DIGITS, UNIT_OF_POWER, read_digits, read_number, spoken_chinese


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("2021年5月8日", "二零二一年五月八日"),
        ("98年12月", "九八年十二月"),
        ("10月20号", "十月二十号"),
        ("共3块5毛2", "共三块五毛二"),
        ("共22.5万元", "共二十二点五万元"),
        ("打13912345678", "打一三九一二三四五六七八"),
        ("打+8613912345678", "打八六一三九一二三四五六七八"),
        ("打010-62345678", "打零一零六二三四五六七八"),
        ("3/4", "四分之三"),
        ("涨了2.50％", "涨了百分之二点五零"),
        ("20多个", "二十多个"),
        ("2200米", "二二零零米"),  # a bare 米 is no measure of these rules
        ("2200千米", "两千两百千米"),
        ("编号10086", "编号一零零八六"),
        ("第12", "第十二"),
        ("B2B和O2O", "B2B和O2O"),
        ("B2B2C", "B2B二C"),
        ("第15和5个", "第一五和五个"),  # the match is the 5 of 5个, and the first 5 is replaced
        ("００５", "零百零十五"),
    ],
)
def test_written_forms_are_read(written, spoken):
    assert spoken_chinese(written).strip() == spoken


def test_punctuation_becomes_spaces_and_other_symbols_stay():
    assert spoken_chinese("“好”，a-b…·．•").split() == ["好", "a", "b", "．•"]


@pytest.mark.parametrize(
    ("number", "read"),
    [
        ("2", "二"),
        ("20", "二十"),
        ("200", "两百"),
        ("212", "两百一十二"),
        ("2222", "两千两百二十二"),
        ("120000", "十二万"),
        ("20200", "两万零二百"),
        ("100100", "十万零一百"),
        ("1000000000000", "一兆"),
        ("000", ""),
        ("00.50", "零点五零"),
    ],
)
def test_numbers_are_read_with_units(number, read):
    assert read_number(number) == read


@given(st.integers(1, 10**48 - 1))
def test_a_reading_has_the_value_of_its_number(number):
    """Units multiply what is before them since the last larger unit."""
    read = read_number(str(number)).replace("两", "二")
    power_of_unit = {unit: power for power, unit in UNIT_OF_POWER.items()}
    assert _value(f"一{read}" if read.startswith("十") else read, power_of_unit) == number


def _value(read, power_of_unit):
    units = [place for place, character in enumerate(read) if character in power_of_unit]
    if not units:
        return DIGITS.index(read.strip("零") or "零")
    place = max(units, key=lambda place: power_of_unit[read[place]])
    high, low = _value(read[:place], power_of_unit), _value(read[place + 1 :], power_of_unit)
    return high * 10 ** power_of_unit[read[place]] + low


@given(st.text("0123456789", min_size=1, max_size=3_000))
def test_any_number_is_read(number):
    assert not set(read_number(number)) & set("0123456789")
    assert len(read_digits(number)) == len(number)
