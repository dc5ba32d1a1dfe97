from audio_lm.evaluation.report_page import Page, Table, html_of, markdown_of

PAGE = Page(
    "a <b>",
    [Table("scores", [["name", "value"], ["x|y", "1 < 2"]], 1)],
    {"Missing": ["none & all"], "Empty": []},
    b"png",
)


def test_markdown_has_tables_lists_and_the_picture():
    text = markdown_of(PAGE)
    assert "| name | value |\n| --- | ---: |\n| x\\|y | 1 < 2 |" in text
    assert "](radar.png)" in text
    assert "## Missing\n\n* none & all" in text
    assert "Empty" not in text


def test_html_is_one_file_and_escapes_texts():
    text = html_of(PAGE)
    assert "<title>a &lt;b&gt;</title>" in text
    assert "<td class=number>1 &lt; 2</td>" in text
    assert "none &amp; all" in text
    assert "data:image/png;base64,cG5n" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "@@" not in text
