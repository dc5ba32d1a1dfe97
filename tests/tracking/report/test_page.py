import re

from audio_lm.tracking.report.page import PAGE


def test_the_template_has_the_expected_placeholders():
    assert set(re.findall(r"@@(\w+)@@", PAGE)) == {"TITLE", "SUBTITLE", "COUNT", "TOTAL", "BUTTONS", "CARDS"}
    assert PAGE.count("@@") % 2 == 0


def test_the_content_security_policy_forbids_requests():
    assert "default-src 'none'" in PAGE


def test_all_colours_are_defined_for_light_and_dark():
    used = set(re.findall(r"var\(--(\w+)\)", PAGE))
    defined = set(re.findall(r"--(\w+): light-dark\(", PAGE))
    assert used == defined
