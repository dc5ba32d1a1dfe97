from dataclasses import replace

import numpy as np
import pytest
import torch

from audio_lm.common.errors import RecipeError
from audio_lm.corpora.synthetic.writing import CutWriter
from audio_lm.data.collate import Collator
from audio_lm.data.examples import with_example
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.pipeline.benchmark_data import QuestionMaker, benchmark_questions
from audio_lm.pipeline.benchmark_jobs import MAIN, MAX_PACK_PROMPTS, BenchmarkJobs, check_controls

QUESTION = "What is it?\nA. a dog\nB. a cat\nC. a bird"


@pytest.fixture
def recipe(small, tmp_path):
    """Recipe with a corpus of six clips of three lengths, half of them with choices."""
    writer = CutWriter(tmp_path / "made", tmp_path / "made")
    rng = np.random.default_rng(0)
    for number in range(6):
        labels = {"language": "en", "text": "one", "gender": ("male", "female")[number % 2]}
        labels |= {"question": QUESTION, "answer": ("A. a dog", "B. a cat", "C. a bird")[number % 3]}
        writer.add("clips-test", rng.normal(0, 0.1, 8000 + 4000 * (number % 3)).astype(np.float32), labels)
    writer.close()
    return replace(small, data_dir=str(tmp_path))


def benchmark(**changes):
    return BenchmarkConfig(
        **{"source": "made/clips-test", "task": "sgc", "metrics": ["acc"], "prompt": "tags", "stage": "pretrain", **changes}
    )  # fmt: skip


def test_without_controls_the_jobs_are_the_prompts_of_the_benchmark(recipe, own_vocabulary):
    jobs = BenchmarkJobs(recipe, benchmark(), own_vocabulary)
    maker = QuestionMaker(recipe, benchmark(), own_vocabulary)
    questions = benchmark_questions(recipe, benchmark())
    assert [question for _, question in jobs.questions[MAIN]] == [*map(maker.question, questions)]
    pack = Collator()([with_example(cut, maker.example(cut)) for cut, *_ in questions])
    mine = jobs.collate([key for key, _ in jobs.questions[MAIN]])
    assert torch.equal(mine.token_ids, pack.token_ids)
    assert torch.equal(mine.waves, pack.waves)


def test_silence_has_the_length_of_the_clip_and_each_length_is_answered_once(recipe, own_vocabulary):
    jobs = BenchmarkJobs(recipe, benchmark(controls=["silence"]), own_vocabulary)
    keys = [key for key, _ in jobs.questions["silence"]]
    assert len(set(keys)) == 3
    assert [jobs.jobs[key].example.num_samples for key in keys] == [
        jobs.jobs[key].example.num_samples for key, _ in jobs.questions[MAIN]
    ]
    assert not jobs.collate(keys).waves.any()
    assert jobs.collate([key for key, _ in jobs.questions[MAIN]]).waves.any()


def test_the_audio_of_another_clip_under_the_same_tags_needs_no_job_of_its_own(recipe, own_vocabulary):
    jobs = BenchmarkJobs(recipe, benchmark(controls=["swapped"]), own_vocabulary)
    assert len(jobs.jobs) == 6
    for (own, question), (other, same) in zip(jobs.questions[MAIN], jobs.questions["swapped"], strict=True):
        assert other != own
        assert same == question, "the reference stays that of the question"


def test_the_audio_of_another_clip_with_another_question_is_a_job(recipe, own_vocabulary):
    config = benchmark(task="aqa", prompt="natural", question="Is it {text} {gender}?", controls=["swapped"])
    jobs = BenchmarkJobs(recipe, config, own_vocabulary)
    swapped = {key for key, _ in jobs.questions["swapped"] if key.startswith("swapped/")}
    assert swapped
    for key in swapped:
        job, own = jobs.jobs[key], jobs.jobs[key.removeprefix("swapped/")]
        assert job.cut.id != own.cut.id
        text, same = (
            [token for token in one.example.token_ids if token != own_vocabulary.audio_id]
            for one in (job, own)
        )
        assert text == same, "the question is that of the clip"


def test_choices_are_rotated_with_their_references(small, recipe, own_vocabulary):
    config = benchmark(task="aqa", prompt="natural", controls=["rotated"])
    jobs = BenchmarkJobs(recipe, config, own_vocabulary)
    check_controls(jobs)
    references = [question.references[0] for _, question in jobs.questions["rotated"]]
    assert references == ["C. a dog", "A. a cat", "B. a bird"] * 2
    assert len(jobs.jobs) == 12
    nothing = replace(config, source="synthetic/events-test", task="sec", prompt="tags")
    with pytest.raises(RecipeError, match=r"control 'rotated' needs choices in lines such as 'A\. dog'"):
        check_controls(BenchmarkJobs(small, nothing, own_vocabulary))


def test_every_job_is_in_one_pack_of_similar_lengths(recipe, own_vocabulary):
    jobs = BenchmarkJobs(recipe, benchmark(controls=["silence", "swapped"]), own_vocabulary)
    keys = [key for pack in jobs.packs for key in pack]
    assert sorted(keys) == sorted(jobs.jobs)
    lengths = [len(jobs.jobs[key].example) for key in keys]
    assert lengths == sorted(lengths)
    assert max(map(len, jobs.packs)) <= MAX_PACK_PROMPTS


def test_the_digest_of_the_data_changes_with_clips_questions_and_references(recipe, own_vocabulary):
    digests = {
        BenchmarkJobs(recipe, config, own_vocabulary).data_digest()
        for config in (
            benchmark(),
            benchmark(max_clips=5),
            benchmark(controls=["silence"]),
            benchmark(task="asr"),
        )
    }
    assert len(digests) == 4
    assert BenchmarkJobs(recipe, benchmark(), own_vocabulary).data_digest() in digests


def test_rotated_choices_are_the_allowed_answers_and_the_choices_of_the_metrics(recipe, own_vocabulary):
    config = benchmark(task="aqa", prompt="natural", controls=["rotated"], closed=True, max_new_tokens=16)
    jobs = BenchmarkJobs(recipe, config, own_vocabulary)
    for control, texts in ((MAIN, ["a dog", "a cat", "a bird"]), ("rotated", ["a cat", "a bird", "a dog"])):
        for key, question in jobs.questions[control]:
            assert list(question.choices) == texts
            lines = tuple(f"{letter}. {text}" for letter, text in zip("ABC", texts, strict=True))
            assert jobs.allowed(key).texts == lines
            assert question.references[0] in lines
    with pytest.raises(RecipeError, match=r"allowed \['A\. a dog'\] are choices with their letters"):
        replace(config, allowed=["A. a dog", "none"])
    assert replace(config, allowed=["A", "B", "C"]).allowed == ["A", "B", "C"]
