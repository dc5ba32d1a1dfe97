import base64
import io
import re
import wave
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from audio_lm.tracking.report.audio_report import audio_report, log_mel_png, wav_bytes


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def without_data(page):
    return re.sub(r"data:[\w/]+;base64,[A-Za-z0-9+/=]+", "data:", page)


def test_the_page_loads_no_external_resources(clip):
    page = audio_report([clip(), clip(cut_id="cut-2", task="sec")], title="digits")
    assert not re.search(r"https?:|//\w|@import|url\(", without_data(page))
    assert not Elements(page).named("link")
    for attributes in (*Elements(page).named("img"), *Elements(page).named("audio")):
        assert attributes["src"].startswith("data:")


def test_all_clips_have_audio_an_image_and_a_task_button(clip):
    clips = [clip(cut_id=f"cut-{number}", task=task) for number, task in enumerate(["asr", "sec", "asr"])]
    elements = Elements(audio_report(clips, title="digits"))
    assert len(elements.named("audio")) == len(elements.named("img")) == 3
    assert [attributes["data-task"] for attributes in elements.named("article")] == ["asr", "asr", "sec"]
    assert [attributes["data-task"] for attributes in elements.named("button")] == ["", "asr", "sec"]
    page = audio_report(clips, title="digits")
    for shown in clips:
        assert shown.cut_id in page, shown.cut_id


def test_texts_are_escaped(clip):
    bad = "<script>alert(1)</script> @@CARDS@@ \"'&"
    page = audio_report(
        [clip(cut_id=bad, task=bad, question=bad, reference=bad, answer=bad, stage=bad, scores={bad: 1.0})],
        title=bad,
    )
    assert len(Elements(page).named("script")) == 1
    assert len(Elements(page).named("article")) == 1
    assert "&lt;script&gt;" in page
    assert "@@CARDS@@" in page


def test_wrong_words_are_highlighted_and_correct_ones_are_not(clip):
    page = audio_report([clip(scores={"wer": 1 / 3})], title="digits")
    assert '<span class="wrong">three</span>' in page
    assert '<span class="wrong">tree</span>' in page
    assert "<dd>seven " in page
    assert "wer <b>0.333</b>" in page
    assert '<article class="off"' in page
    assert '<article class="right"' in audio_report([clip(answer="seven three one ")], title="digits")


def test_a_clip_without_audio_has_no_player(clip):
    page = audio_report([clip(wave=np.zeros(0), log_mel=np.zeros((0, 80)))], title="digits")
    assert not Elements(page).named("audio")
    assert "no audio" in page


def test_the_embedded_audio_equals_the_clip(clip):
    source = Elements(audio_report([clip()], title="t")).named("audio")[0]["src"]
    with wave.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnframes()) == (16_000, 2, 3200)
        decoded = np.frombuffer(file.readframes(3200), "<i2") / 32767
    assert np.abs(decoded - clip().wave).max() < 1e-4


def test_values_beyond_full_scale_are_clipped():
    with wave.open(io.BytesIO(wav_bytes(np.array([2.0, -2.0, np.nan])))) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32767, -32767, 0]


def test_a_log_mel_image_has_time_to_the_right_and_frequency_upwards():
    log_mel_FM = np.zeros((40, 80))
    log_mel_FM[30, 70] = 1.0
    image = Image.open(io.BytesIO(log_mel_png(log_mel_FM))).convert("L")
    brightest = np.unravel_index(np.argmax(np.asarray(image)), (80, 40))
    assert brightest == (80 - 1 - 70, 30)


def test_the_image_of_a_long_clip_is_downsampled():
    assert Image.open(io.BytesIO(log_mel_png(np.random.default_rng(0).normal(size=(3000, 80))))).width == 750
