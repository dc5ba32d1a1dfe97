from audio_lm.evaluation.predict import Prediction
from audio_lm.pipeline.report_clips import report_clips


def test_report_clips_have_audio_spectrogram_and_answer(small, own_vocabulary):
    predictions = [Prediction("x", "sec", ("beep",), "bell") for _ in range(4)]
    clips = report_clips(small, "events", predictions, own_vocabulary)
    assert len(clips) == small.tracking.num_listening_clips
    assert all(len(clip.wave) and clip.log_mel.shape[1] == 80 and clip.answer == "bell" for clip in clips)
