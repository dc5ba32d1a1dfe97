import json
import re
from dataclasses import replace

import pytest

from audio_lm.sweep.report.page import page_data, page_html
from audio_lm.sweep.report.view import FitView
from tests.sweep.report.conftest import known_view


@pytest.fixture(scope="module")
def page(view):
    return page_html(view, title="Sweep <demo>", subtitle="20 trials", sections={"Best": ["`asr` 40 %"]})


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )


def test_the_page_is_one_file_that_makes_no_request(page):
    assert "default-src 'none'" in page
    own = page.replace("http://www.w3.org/2000/svg", "")  # the name space of pictures, not an address
    assert not re.search(r"https?:|\bsrc=|<link|@import|url\(|fetch\(|XMLHttpRequest|import\(", own)
    assert "@@" not in page


def test_names_are_text_and_never_markup(view):
    evil = "a</script><script>alert(1)"
    table = replace(view.fit.table, runs=(evil, *view.fit.table.runs[1:]))
    page = page_html(FitView(replace(view.fit, table=table)), title=evil, subtitle="", sections={})
    assert page.count("</script>") == 2
    assert data_of(page)["trials"][0]["run"] == evil


def test_every_element_that_the_script_uses_exists(page):
    html, script = page.split('<script type="application/json"')
    used = set(re.findall(r'(?:byId|canvas|select)\("([\w-]+)"', script))
    assert {"map", "lines", "slices", "effects", "front", "table", "wish"} <= used
    assert used <= {"data", *re.findall(r'id="([\w-]+)"', html)}


def test_all_colours_are_defined(page):
    style = page.partition("</style>")[0]
    assert set(re.findall(r"var\(--(\w+)\)", page)) <= set(re.findall(r"--(\w+): light-dark\(", style))


def test_the_data_has_every_trial_and_the_predictions_of_the_fit(page, view):
    data = data_of(page)
    assert [trial["run"] for trial in data["trials"]] == list(view.fit.table.runs)
    mean = view.predict("val_loss/lid", view.fit.best.shares[None])[0][0]
    assert data["predicted"]["best"]["val_loss/lid"] == pytest.approx(mean, rel=1e-5)
    assert data["reference"]["deviation"].keys() == data["reference"]["mean"].keys() == set(view.names)
    assert len(data["grid"]["mean"]["objective"]) == 41 * 42 // 2
    assert data["sections"] == {"Best": ["`asr` 40 %"]}


def test_effects_within_the_noise_have_no_number_on_the_page():
    cells = [cell for row in page_data(known_view(noise=9.0))["effects"]["recipe"].values() for cell in row]
    assert cells == [{"is_named": False, "why": "within noise"}] * len(cells)


def test_there_is_no_triangle_for_five_tasks(view_of_five):
    assert page_data(view_of_five)["grid"] is None
