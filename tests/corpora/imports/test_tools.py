import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.common import ImportOptions, Row
from audio_lm.corpora.imports.tools import TOOL_ROLES, drop_or_refuse_tools, is_tool_turn, refuse_tools
from audio_lm.corpora.imports.writer import ImportWriter


@pytest.mark.parametrize("value", [[{"function": {}}], {"name": "off"}, '[{"name": "off"}]'])
@pytest.mark.parametrize("key", ["tools", "tool_calls", "function_call", "functions"])
def test_tools_are_refused_at_any_depth_unless_empty(key, value):
    def row(value):
        return Row({"messages": [Row({"content": [Row({key: value})]})]})

    for with_tools in (Row({key: value}), row(value)):
        with pytest.raises(DataError, match=f"'{key}' describes or calls tools"):
            refuse_tools(with_tools)
    for empty in (None, [], {}, "", "[]", False):
        refuse_tools(row(empty))


@pytest.mark.parametrize("role", sorted(TOOL_ROLES))
def test_a_turn_of_a_tool_is_named(role):
    row = Row({"messages": [Row({"role": "user", "content": "?"}), Row({"role": role, "content": "42"})]})
    with pytest.raises(DataError, match="turn 2 calls a tool or is a tool's"):
        refuse_tools(row)


def test_a_turn_that_calls_a_tool_is_a_tool_turn():
    assert is_tool_turn(Row({"from": "gpt", "function_call": {"name": "off"}}))
    assert not is_tool_turn(Row({"from": "gpt", "function_call": None}))
    assert not is_tool_turn("tool")


def test_tool_turns_are_dropped_and_counted(tmp_path):
    writer = ImportWriter(tmp_path, "mine")
    turns = [Row({"role": name, "content": "x"}) for name in ("user", "tool", "assistant")]
    for row in (Row({"messages": turns, "tools": ["off"]}), Row({"messages": turns[:1]})):
        drop_or_refuse_tools(row, writer, ImportOptions(tools="drop"))
        assert "tools" not in row
        refuse_tools(row)
    assert (writer.num_tool_turns, writer.num_rows_with_tools) == (1, 1)
    assert writer.all_notes() == ["1 tool turns of 1 conversations were dropped"]
