from io import BytesIO

import pytest
from PIL import Image

from audio_lm.config.load import load_recipe
from audio_lm.notebook.data_view import view_data
from audio_lm.notebook.run_view import RunView


@pytest.fixture(scope="module")
def data(whole_run):
    return RunView(whole_run.path).data("pretrain")


def test_only_learned_text_of_an_example_is_marked(data):
    html = data.examples(num_per_task=2)
    assert html.count("<p ") == 4, "two tasks"
    spans = html.split("<span")[1:]
    first = next(span for span in spans if "clip 1" in span)
    assert "border-bottom" not in first, "audio is given"
    ends = [span for span in spans if "endoftext" in span]
    assert len(ends) == 4
    assert all("border-bottom" in span for span in ends)
    assert "&lt;|" in html, "markup is escaped"


def test_packs_are_those_of_the_training(data, whole_run, small):
    packs = list(data.first_packs(2))
    assert len(packs) == 2 * small.stages["pretrain"].packs_per_step
    loaded = iter(data.data.train_dataloader())
    expected = [pack for _ in range(2) for pack in next(loaded)]
    assert [pack.cut_ids for pack in packs] == [pack.cut_ids for pack in expected]


def test_every_picture_is_drawn(data):
    heights = {}
    for name in ("mixture", "spectrograms", "lengths", "packs"):
        heights[name] = Image.open(BytesIO(getattr(data, name)()._repr_png_())).size[1]
    assert min(heights.values()) > 150


def test_a_spectrogram_is_drawn_for_each_of_the_clips(data):
    few, many = (Image.open(BytesIO(data.spectrograms(num)._repr_png_())).size[1] for num in (2, 6))
    assert many > 2.5 * few


def test_data_is_viewed_before_any_training(small_recipe, data):
    before = view_data(load_recipe(small_recipe), "pretrain")
    ids = [pack.token_ids.tolist() for pack in before.first_packs(1)]
    assert ids == [pack.token_ids.tolist() for pack in data.first_packs(1)]
