from audio_lm.corpora.synthetic.speech_phrases import COLUMNS, KNOWN_PHRASES, NEW_PHRASES, PHRASES
from audio_lm.corpora.synthetic.voices import LANGUAGES


def test_every_language_has_every_phrase_once():
    assert set(COLUMNS) == set(LANGUAGES)
    for language in COLUMNS:
        texts = [phrase[language] for phrase in PHRASES]
        assert all(text and text == text.strip() for text in texts), language
        assert len(set(texts)) == len(texts), language


def test_new_phrases_are_new_but_their_english_words_are_not():
    known = {word for phrase in KNOWN_PHRASES for word in phrase["en"].split()}
    new = {word for phrase in NEW_PHRASES for word in phrase["en"].split()}
    assert not {phrase["en"] for phrase in NEW_PHRASES} & {phrase["en"] for phrase in KNOWN_PHRASES}
    assert new - known <= {"paris", "sunday"}


def test_each_language_uses_its_own_script():
    scripts = {"zh": ("\u4e00", "\u9fff"), "ja": ("\u3040", "\u30ff"), "ko": ("\uac00", "\ud7a3")}
    for language, (first, last) in scripts.items():
        for phrase in PHRASES:
            letters = phrase[language].replace(" ", "")
            assert all(first <= letter <= last for letter in letters), phrase[language]
