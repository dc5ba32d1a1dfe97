from audio_lm.common.markdown_table import markdown_cell, markdown_table


def test_a_bar_or_a_line_break_does_not_split_a_cell():
    assert markdown_table([["a|b", "n"], ["x\n y", "1"]], num_text_columns=1).splitlines() == [
        r"| a\|b | n |",
        "| --- | ---: |",
        "| x y | 1 |",
    ]
    assert markdown_cell(" a |\n b") == r"a \| b"


def test_all_columns_are_texts_unless_their_number_is_given():
    assert markdown_table([["a", "b"], ["x", ""]]).splitlines()[1] == "| --- | --- |"


def test_a_table_without_rows_is_empty():
    assert markdown_table([["a", "b"]]) == ""
