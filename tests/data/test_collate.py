import pytest
import torch

from audio_lm.data.collate import Collator
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.data.examples import ExampleMaker, with_example


@pytest.fixture
def cuts(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    tasks = ["asr", "sgc", "srwt-en", "lid"]
    return [
        with_example(cut, maker.example(cut, task, i))
        for i, (cut, task) in enumerate(zip(make_cuts(4), tasks, strict=True))
    ]


def test_labels_are_the_next_learned_tokens_of_the_same_conversation(cuts):
    pack = Collator()(cuts)
    at = 0
    for start, end in zip(pack.cu_seq_lens[:-1].tolist(), pack.cu_seq_lens[1:].tolist(), strict=True):
        example = cuts[at].custom["example"]
        expected = [
            (start + i, example.token_ids[i + 1])
            for i in range(len(example) - 1)
            if example.is_learned[i + 1]
        ]
        inside = (pack.learned_index >= start) & (pack.learned_index < end)
        assert (
            list(zip(pack.learned_index[inside].tolist(), pack.labels[inside].tolist(), strict=True))
            == expected
        )
        assert {pack.tasks[i] for i in pack.task_index[inside].tolist()} == {example.task}
        at += 1
    assert at == len(cuts) == len(pack)


def test_the_answers_of_turns_without_loss_are_no_labels(make_cuts, vocabulary):
    (cut,) = make_cuts(1)
    conversation = [
        {"role": "user", "content": [{"audio": 1}, {"text": "first"}]},
        {"role": "assistant", "content": [{"text": "left out"}], "learn": False},
        {"role": "user", "content": [{"text": "second"}]},
        {"role": "assistant", "content": [{"text": "learned"}]},
    ]
    cut.supervisions[0].custom = {"conversation": conversation}
    pack = Collator()([with_example(cut, ExampleMaker(vocabulary, "chatml").example(cut, "chat"))])
    expected = [*vocabulary.ids("learned", is_markup=False), vocabulary.id_of["<|im_end|>"]]
    assert pack.labels.tolist() == expected


def test_positions_restart_and_lengths_add_up(cuts):
    pack = Collator()(cuts)
    assert pack.cu_seq_lens[-1] == len(pack.token_ids) == len(pack.position_ids)
    assert pack.position_ids[pack.cu_seq_lens[:-1].long()].tolist() == [0] * len(cuts)
    assert sum(pack.num_samples) == len(pack.waves)
    assert pack.max_length % 128 == 0


def test_augmentation_depends_on_the_position_only(cuts):
    collate = Collator(policy=SpecAugmentConfig(), seed=1)
    whole = collate(cuts).augment
    assert torch.equal(whole, torch.cat([collate([cut]).augment for cut in cuts]))
    assert Collator()(cuts).augment is None
