import pytest

from audio_lm.corpora.imports.common import Row
from audio_lm.corpora.imports.dialogue_rows import check_dialogue


def turn(role, content, **more):
    return Row({"role": role, "content": content, **more})


TURNS = [
    turn("user", "<audio>What?"),
    turn("assistant", "one"),
    turn("user", "And?"),
    turn("assistant", "two"),
]


def faults_of(turns=TURNS, audios=("a.wav",), **more):
    return check_dialogue(Row({"turns": [*turns], "audios": [*audios], **more}))[1]


def test_texts_with_placeholders_and_parts_with_numbers_are_the_same():
    texts = [turn("user", "Which?<audio><audio>"), turn("assistant", "one")]
    parts = [
        turn("user", [{"text": "Which?"}, {"audio": 1}, {"audio": 2}]),
        Row({"role": "assistant", "text": "one"}),
    ]
    rows = [check_dialogue(Row({"turns": turns, "audios": ["a", "b"]})) for turns in (texts, parts)]
    assert rows[0] == rows[1]
    assert rows[0][1] == []
    assert rows[0][0].turn_of_audio(2) == 1
    assert rows[0][0].turn_of_audio(3) is None


def test_a_system_turn_flags_and_a_rejected_answer_are_kept():
    turns = [turn("system", "Be brief."), *TURNS[:1], turn("assistant", "one", learn=False)]
    turns += [turn("user", "And?"), turn("assistant", "two", rejected="three", learn=True)]
    row, faults = check_dialogue(Row({"turns": turns, "audios": ["a.wav"]}))
    assert not faults
    assert [each.get("learn", True) for each in row.conversation] == [True, True, False, True, True]
    assert row.rejected == "three"
    assert row.is_pair


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"turns": []}, "'turns' is [] -- expected a list of turns"),
        ({"turns": [TURNS[0]]}, "turn 1: the last turn is no answer"),
        ({"turns": [*TURNS[:2], TURNS[1]]}, "turn 3: the assistant's turn stands where the user's"),
        ({"turns": [TURNS[0], TURNS[2], TURNS[1]]}, "turn 2: the user's turn stands where the assistant's"),
        ({"turns": [*TURNS, turn("system", "x")]}, "turn 5: the system's turn stands where the user's"),
        ({"turns": [*TURNS[:1], turn("bot", "x")]}, "turn 2: the role is 'bot'"),
        ({"turns": [*TURNS[:1], "x"]}, "turn 2: 'x' -- expected an object"),
        ({"turns": [*TURNS, turn("tool", "x")]}, "turn 5 calls a tool or is a tool's"),
        ({"tools": [{"name": "off"}]}, "'tools' describes tools"),
        ({"audios": ["a.wav", "b.wav"]}, "audio 2 is never referenced"),
        ({"audios": []}, "turn 1: audio 1 is missing: the row has 0 audios"),
        ({"audios": "a.wav"}, "'audios' is no list"),
        ({"audios": ["a.wav"] * 10}, "the row has 10 audios -- expected at most 9"),
        (
            {"turns": [*TURNS[:2], turn("user", [{"audio": 1}]), TURNS[3]]},
            "turn 3: audio 1 is in an earlier turn",
        ),
        (
            {"turns": [turn("user", [{"audio": 2}, {"audio": 1}]), TURNS[1]], "audios": ["a", "b"]},
            "turn 1: audio 2 stands where audio 1",
        ),
        (
            {"turns": [turn("user", "?"), turn("assistant", "<audio>")]},
            "turn 2: the assistant's turn refers to",
        ),
        ({"turns": [*TURNS[:1], turn("assistant", " ")]}, "turn 2: the answer is empty"),
        ({"turns": [*TURNS[:1], turn("assistant", 7)]}, "turn 2: the content is 7"),
        ({"turns": [turn("user", [{"image": "x"}]), TURNS[1]]}, "turn 1: the part {'image': 'x'}"),
        ({"turns": [*TURNS[:3], turn("assistant", "x", weight=1)]}, "turn 4: the key 'weight' is unknown"),
        ({"turns": [*TURNS[:3], turn("assistant", "x", learn="no")]}, "turn 4: learn is 'no'"),
        ({"turns": [turn("user", "<audio>?", learn=True), TURNS[1]]}, "turn 1: learn is True"),
        ({"turns": [*TURNS[:1], turn("assistant", "x", learn=False)]}, "no turn is learned"),
        (
            {"turns": [*TURNS[:3], turn("assistant", "two", rejected="two")]},
            "turn 4: the rejected answer equals",
        ),
        ({"turns": [*TURNS[:3], turn("assistant", "two", rejected=[])]}, "turn 4: rejected is []"),
        ({"turns": [turn("user", "<audio>?", rejected="x"), TURNS[1]]}, "turn 1: rejected is in a turn that"),
        ({"rejected_audios": ["a.wav"]}, "rejected_audios are the audios themselves"),
        ({"rejected_audios": ["b.wav", "c.wav"]}, "2 rejected_audios beside 1 audios"),
        (
            {
                "turns": [*TURNS[:3], turn("assistant", "two", learn=False)],
                "rejected_audios": ["b.wav"],
            },
            "turn 4: learn is false in the last answer of a pair",
        ),
        (
            {"turns": [TURNS[0], turn("assistant", "one", rejected="x"), *TURNS[2:]]},
            "turn 2: rejected is not in the last turn",
        ),
    ],
)
def test_a_fault_names_its_turn(changed, fault):
    row = Row({"turns": [*TURNS], "audios": ["a.wav"], **changed})
    found = check_dialogue(row)[1]
    assert any(fault in line for line in found), found


def test_all_faults_of_a_row_are_found():
    turns = [
        turn("user", "<audio>?"),
        turn("assistant", ""),
        turn("user", [{"audio": 4}, 7]),
        turn("assistant", "x"),
    ]
    found = faults_of(turns, audios=["a.wav", "b.wav", "c.wav"])
    assert [line.split(":")[0] for line in found] == [
        "turn 2",
        "turn 3",
        "turn 3",
        "audio 2 is never referenced; put <audio> into the turn it belongs to, or remove it",
        "audio 3 is never referenced; put <audio> into the turn it belongs to, or remove it",
    ]
