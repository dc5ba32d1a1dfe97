import numpy as np

from audio_lm.tracking.report.display import Html, Markdown, Picture, Sound
from audio_lm.tracking.report.figures import mixture_figure


def test_values_are_shown_by_their_kind():
    assert Picture.of(mixture_figure({"asr": 1}))._repr_png_().startswith(b"\x89PNG")
    assert Markdown("a | b")._repr_markdown_() == "a | b"
    assert Html("<p>x</p>")._repr_html_() == "<p>x</p>"
    player = Sound(np.zeros(160, np.float32), "<|sil|>")._repr_html_()
    assert "&lt;|sil|&gt;" in player
    assert "<audio controls src" in player
