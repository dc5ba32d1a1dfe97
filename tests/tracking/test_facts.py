import json
from dataclasses import replace

from audio_lm.tracking.facts import MAX_NAME_LENGTH, RunFacts, StageFacts, TaskFacts

FACTS = RunFacts(
    recipe="emodb",
    settings={"sgc": "6", "steps": "40"},
    params={"steps": "40"},
    stages=(
        StageFacts("train", 40, (TaskFacts("asr", 2, 0.25), TaskFacts("sgc", 6, 0.75)), {"gender": "sgc"}),
        StageFacts("chat", 5, (TaskFacts("chat", 1, 1.0),), {"answers": "chat"}),
    ),
    published={"gender": {"acc": 0.9}},
    folder="/runs/emodb-1a2b3c4d",
    words=("model whisper",),
    commands={"Table of scores": "audio-lm report /runs/emodb-1a2b3c4d"},
)
SCORES = {"gender/acc": 0.8125, "untrained/gender/acc": 0.5, "answers/acc": 0.25}


def test_a_name_says_what_differs_from_the_recipe_and_what_does_not_fit_is_counted():
    assert FACTS.run_name() == "emodb sgc=6 steps=40"
    many = RunFacts(recipe="emodb", settings={f"task_{number}": "0.125" for number in range(31)})
    assert len(many.run_name()) <= MAX_NAME_LENGTH
    assert many.run_name().startswith("emodb task_0=0.125 task_1=0.125")
    assert many.run_name().endswith("+25 more")
    assert len(RunFacts(recipe="x" * 300).run_name()) <= MAX_NAME_LENGTH


def test_the_parameters_are_the_weights_and_what_differs():
    assert FACTS.all_params() == {
        "steps": "40", "weight/train/asr": "2", "weight/train/sgc": "6", "weight/chat/chat": "1"
    }  # fmt: skip


def test_the_tags_have_the_task_of_every_benchmark():
    assert json.loads(FACTS.tags()["benchmark_tasks"]) == {"gender": "sgc", "answers": "chat"}


def test_mixtures_in_words_are_those_of_stages_with_benchmarks():
    first = StageFacts("language", 10, (TaskFacts("asr", 1, 1.0),))
    assert "Mixture of language" not in replace(FACTS, stages=(first, *FACTS.stages)).recipe_note({})
    assert "Mixture of language" in replace(FACTS, stages=(first,)).recipe_note({})


def test_a_stage_has_realised_shares_once_it_is_trained():
    assert FACTS.shares() == {}
    trained = FACTS.with_shares("train", {"asr": 0.23456, "sgc": 0.76544})
    assert trained.shares() == {"share/train/asr": 0.2346, "share/train/sgc": 0.7654}
    assert "Mixture of train, planned: asr 25.0 %, sgc 75.0 %" in FACTS.recipe_note({})
    assert "Mixture of train, trained on: asr 23.5 %, sgc 76.5 %" in trained.recipe_note({})
    assert "| train | sgc | 6 | 75.0 % | 76.5 % |" in trained.recipe_note({}).splitlines()


def test_a_description_has_recipe_mixture_and_scores_in_words_then_in_tables():
    lines = FACTS.recipe_note(SCORES).splitlines()
    assert lines[0] == "Recipe **emodb** with **sgc=6, steps=40**; model whisper  "
    assert lines[1] == "Scores: gender acc **0.812**, answers acc **0.250**  "
    assert "Run folder `/runs/emodb-1a2b3c4d`  " in lines
    assert "Table of scores: `audio-lm report /runs/emodb-1a2b3c4d`" in lines
    table = lines.index("| benchmark | metric | score | untrained | published |")
    assert lines[table + 2] == "| gender | acc | 0.812 | 0.500 | 0.900 |"
    assert lines[table + 3] == "| answers | acc | 0.250 |  |  |"


def test_the_description_of_a_stage_has_its_own_scores_and_mixture():
    note = FACTS.stage_note("train", SCORES)
    assert note.startswith("Stage **train** of emodb sgc=6 steps=40; 40 steps")
    assert "| train | sgc | 6 |" in note
    assert "| gender | acc |" in note
    assert "answers" not in note
    assert "chat" not in note


def test_a_score_that_is_not_finite_is_named_and_shares_are_no_scores():
    note = FACTS.recipe_note(
        {"nonfinite/srwt/aas": 1.0, "nonfinite/untrained/srwt/aas": 1.0, "share/train/asr": 0.5, "wer": 1.0}
    )
    assert "| srwt | aas | not finite | not finite |" in note
    assert "share/" not in note


def test_a_name_with_a_bar_does_not_break_the_table():
    note = RunFacts(recipe="a|b", settings={"x": "1|2"}).stage_note("s", {})
    assert "a\\|b x=1\\|2" in note
