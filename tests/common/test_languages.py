import pytest

from audio_lm.common.errors import DataError
from audio_lm.common.languages import (
    NAME_OF_LANGUAGE,
    check_tag,
    chinese_name_of_language,
    find_language,
    has_tag,
    language_code,
    name_of_language,
    with_language_codes,
)


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("en", "en EN eng en-US en_us en-UK en_GB.UTF-8 English english ENGLISH <|en|> English-US"),
        ("zh", "zh zho chi cmn zh-CN zh_cn zh-TW zh-Hans cmn_hans_cn Chinese Mandarin 中文"),
        ("yue", "yue zh-yue yue-HK Cantonese 粤语"),
        ("de", "de deu ger German de-AT"),
        ("ja", "ja jpn ja-JP Japanese"),
        ("pt", "pt por pt-BR Portuguese"),
        ("ar", "ar ara arb Arabic"),
        ("he", "he iw heb Hebrew"),
        ("bo", "tibetan bo"),
        ("el", "Greek el ell"),
        ("haw", "haw Hawaiian"),
        ("unknown", "unknown und zxx Unknown"),
    ],
)
def test_all_spellings_of_a_language_give_one_code(code, written):
    assert {text: language_code(text) for text in written.split()} == dict.fromkeys(written.split(), code)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("Singaporean English", "en"),
        ("Mandarin Chinese", "zh"),
        ("Chinese (Cantonese)", "yue"),
        ("Brazilian Portuguese", "pt"),
        ("Swiss German", "gsw"),
        (" en-US\n", "en"),
        ("", "unknown"),
    ],
)
def test_descriptions_as_in_lhotse_recipes_are_parsed(written, code):
    assert language_code(written) == code


@pytest.mark.parametrize("written", ["xx", "Jiang-Huai", "zh-en", "English/Chinese", "qaa", "nobody", "7"])
def test_an_unknown_or_ambiguous_language_is_refused_and_quoted(written):
    assert find_language(written) is None
    with pytest.raises(DataError, match=f"language '{written}' is unknown"):
        language_code(written)


def test_a_language_name_is_parsed_back_to_its_code():
    for code in (*NAME_OF_LANGUAGE, "pt", "hi", "ru", "ar", "el", "yue", "sw", "fil", "pa"):
        assert language_code(name_of_language(code)) == code
        assert language_code(chinese_name_of_language(code)) == code


def test_a_language_without_a_tag_is_refused_with_its_name_and_a_remedy():
    assert all(map(has_tag, (*NAME_OF_LANGUAGE, "unknown")))
    check_tag("unknown")
    with pytest.raises(DataError, match=r"'pt' has no tag.*not for Portuguese.*natural or chatml"):
        check_tag("pt")
    with pytest.raises(DataError, match="'xx' is unknown"):
        check_tag("xx")


def test_labels_get_codes_and_keep_unknown_languages():
    labels = {"language": "English", "target_language": "zh_CN", "text": "English"}
    assert with_language_codes(labels) == {"language": "en", "target_language": "zh", "text": "English"}
    assert with_language_codes({"language": "dialect 7"}) == {"language": "dialect 7"}
    assert with_language_codes({"language": 3}) == {"language": 3}
