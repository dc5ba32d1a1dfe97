import re

from audio_lm.tracking.report.page import PAGE


def test_the_places_to_fill_are_these():
    assert set(re.findall(r"@@(\w+)@@", PAGE)) == {"TITLE", "SUBTITLE", "COUNT", "TOTAL", "BUTTONS", "CARDS"}
    assert PAGE.count("@@") % 2 == 0


def test_the_page_forbids_itself_to_fetch():
    assert "default-src 'none'" in PAGE


def test_every_colour_is_defined_for_light_and_dark():
    used = set(re.findall(r"var\(--(\w+)\)", PAGE))
    defined = set(re.findall(r"--(\w+): light-dark\(", PAGE))
    assert used == defined
