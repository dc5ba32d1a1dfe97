import re

from audio_lm.sweep.report.matrix import matrix_figure
from audio_lm.tracking.report.figures import figure_png
from tests.sweep.report.conftest import known_view


def cells_of(view):
    return [text.get_text() for text in matrix_figure(view).axes[0].texts]


def test_named_effects_have_a_number_and_its_interval(view):
    cells = cells_of(view)
    assert len(cells) == len(view.names) * len(view.tasks)
    number = r"[+-]\d+\.\d+"
    assert any(re.fullmatch(rf"{number}\n{number} to {number}", cell) for cell in cells)
    assert figure_png(matrix_figure(view)).startswith(b"\x89PNG")


def test_cells_within_the_noise_have_no_number():
    assert set(cells_of(known_view(noise=5.0))) == {"within noise"}
    assert set(cells_of(known_view(noise=0))) == {"noise unknown"}
