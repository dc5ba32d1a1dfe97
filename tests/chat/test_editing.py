import numpy as np
import pytest
import soundfile

from audio_lm.chat.editing import Edit, choose_spans, edit_file
from audio_lm.chat.grounding import Grounding, Span
from audio_lm.common.errors import DataError, UserError

SPANS = (Span("one", 0.2, 0.4), Span("one", 0.7, 0.8))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.normal(0, 0.1, (22_050, 2)), 22_050)
    return path


def test_all_occurrences_or_one_are_chosen():
    found = Grounding("a.wav", "one", (), SPANS)
    assert choose_spans(found) == list(SPANS)
    assert choose_spans(found, 2) == [SPANS[1]]
    with pytest.raises(UserError, match="occurrence 3 of 'one' -- expected 1 to 2"):
        choose_spans(found, 3)
    with pytest.raises(UserError, match="'one' was not found in"):
        choose_spans(Grounding("a.wav", "one", (), ()))


def test_a_recording_is_edited_in_its_own_rate_and_channels(source, tmp_path):
    before, content = source.read_bytes(), soundfile.read(source)[0]
    edit_file(source, tmp_path / "new" / "shorter.wav", list(SPANS), Edit("delete", margin=0.0))
    wave, rate = soundfile.read(tmp_path / "new" / "shorter.wav")
    assert (rate, wave.shape[1]) == (22_050, 2)
    assert len(wave) / rate == pytest.approx(1 - 0.3 - 2 * 0.01, abs=1e-3)
    np.testing.assert_array_equal(wave[:4000], content[:4000])
    np.testing.assert_array_equal(wave[-4000:], content[-4000:])
    edit_file(source, tmp_path / "bleep.flac", list(SPANS), Edit("bleep"))
    assert soundfile.info(tmp_path / "bleep.flac").frames == 22_050
    assert source.read_bytes() == before


@pytest.mark.parametrize("channels", [1, 2])
def test_a_replacement_of_another_rate_and_other_channels_is_converted(source, tmp_path, channels):
    other = tmp_path / "other.wav"
    soundfile.write(other, np.full((8_000, channels), 0.25), 8_000)
    edit_file(source, tmp_path / "out.wav", [SPANS[0]], Edit("replace", other, margin=0.0))
    wave, rate = soundfile.read(tmp_path / "out.wav")
    assert len(wave) / rate == pytest.approx(1 - 0.2 + 1 - 2 * 0.01, abs=1e-3)
    middle = wave[int(0.5 * rate) : int(0.9 * rate)]
    np.testing.assert_allclose(middle, 0.25, atol=0.01)


def test_mistakes_are_one_sentence_and_write_nothing(source, tmp_path):
    out = tmp_path / "out.wav"
    with pytest.raises(DataError, match="no audio is overwritten"):
        edit_file(source, source, list(SPANS), Edit("delete", margin=0.0))
    with pytest.raises(DataError, match="nothing is left"):
        edit_file(source, out, [Span("x", 0.0, 1.0)], Edit("delete", margin=0.0))
    with pytest.raises(DataError, match=r"missing\.wav is missing"):
        edit_file(source, out, list(SPANS), Edit("replace", tmp_path / "missing.wav"))
    with pytest.raises(DataError, match=r"absent\.wav is missing"):
        edit_file(tmp_path / "absent.wav", out, list(SPANS), Edit("delete", margin=0.0))
    assert not out.exists()


def test_a_margin_is_added_on_both_sides(source, tmp_path):
    edit_file(source, tmp_path / "out.wav", [SPANS[0]], Edit("delete", margin=0.1))
    assert soundfile.info(tmp_path / "out.wav").duration == pytest.approx(1 - 0.4 - 0.01, abs=1e-3)
    edit_file(source, tmp_path / "start.wav", [Span("x", 0.0, 0.1)], Edit("delete", margin=0.5))
    assert soundfile.info(tmp_path / "start.wav").duration == pytest.approx(0.4, abs=1e-3)
