from collections import Counter

from audio_lm.corpora.imports.common import Row
from audio_lm.corpora.imports.dialogue_rows import check_dialogue
from audio_lm.corpora.synthesis.templates import SynthesisConfig, template_rows


def rows_of(pools, split="train", **more):
    return list(template_rows(pools, SynthesisConfig(**more), split))


def faults_of(row):
    return check_dialogue(Row({**row, "turns": [Row(turn) for turn in row["turns"]]}))[1]


def test_rows_have_no_fault_and_equal_seeds_give_equal_rows(pools):
    rows = rows_of(pools, num_rows=200, pairs=0.5)
    assert not [fault for row in rows for fault in faults_of(row)]
    assert rows == rows_of(pools, num_rows=200, pairs=0.5)
    assert rows != rows_of(pools, num_rows=200, pairs=0.5, seed=1)
    assert len({row["id"] for row in rows}) == 200


def test_shares_of_pairs_and_of_several_clips_are_those_of_the_configuration(pools):
    rows = rows_of(pools, num_rows=400, pairs=0.5, several=0.25)
    pairs = [row for row in rows if "rejected" in row["turns"][-1] or "rejected_audios" in row]
    assert 0.42 < len(pairs) / 400 < 0.58
    assert 0.4 < sum(len(row["audios"]) > 1 for row in pairs) / len(pairs) < 0.6
    others = [row for row in rows if row not in pairs]
    assert 0.15 < sum(len(row["audios"]) > 1 for row in others) / len(others) < 0.35


def test_all_kinds_of_corruption_occur(pools):
    kinds = Counter(row["made"]["corruption"] for row in rows_of(pools, num_rows=400, pairs=1.0))
    assert kinds.keys() >= {
        *("wrong count", "swapped order", "shifted stamps", "dropped word", "another speaker"),
        *("hallucinated sound", "another audio", "another answer", "missing sound"),
    }


def test_conversations_have_several_turns_paraphrases_and_returns_to_an_earlier_clip(pools):
    rows = rows_of(pools, num_rows=300)
    counts = Counter(len(row["turns"]) for row in rows)
    assert counts.keys() >= {2, 4, 6}
    questions = {row["turns"][0]["content"][-1]["text"] for row in rows if len(row["audios"]) == 1}
    assert len(questions) > 30
    last = [row["turns"][-2]["content"] for row in rows if len(row["audios"]) > 1]
    assert any(len(content) == 1 and "audio 1" in content[0]["text"].lower() for content in last)


def test_held_out_wordings_are_for_validation_and_test(pools):
    def texts(split):
        rows = rows_of(pools, split, num_rows=200, several=0.0)
        return {turn["content"][-1]["text"] for row in rows for turn in row["turns"][::2]}

    assert "Please write down the words." in texts("test")
    assert "Please write down the words." not in texts("train")
