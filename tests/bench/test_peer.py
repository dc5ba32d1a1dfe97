import numpy as np
import torch

from audio_lm.bench.batches import batches_of
from audio_lm.bench.peer import in_their_names, peer_batch, peer_of
from audio_lm.bench.step import Bench, _ours
from audio_lm.data.examples import Example
from tests.bench.test_step import MODEL

CPU = torch.device("cpu")


def example(ids, learned):
    return Example("a", "asr", 0, ids, [place in learned for place in range(len(ids))], [], ())


def test_rows_end_at_the_longest_and_learn_the_answers_only():
    batch = peer_batch([example([5, 6, 7], {2}), example([8, 9, 4, 3, 2], {3, 4})], [np.zeros(800)] * 2)
    assert batch.token_ids.tolist() == [[5, 6, 7, 0, 0], [8, 9, 4, 3, 2]]
    assert batch.mask.tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert batch.labels.tolist() == [[-100, -100, 7, -100, -100], [-100, -100, -100, 3, 2]]


def test_every_clip_becomes_thirty_seconds():
    ours = _ours(Bench(model=MODEL, num_ids=500), CPU)
    batch = batches_of(1, 2, 2, 500, CPU)[0]
    heard = peer_of(ours, MODEL, audio_id=499).features(batch.rows[0])
    assert heard["input_features"].shape == (2, 80, 3000)
    assert (heard["attention_mask"].sum(1) < 2000).all()


def test_their_model_has_our_weights_and_learns_what_ours_learns():
    ours = _ours(Bench(model=MODEL, num_ids=500, stage="encoder"), CPU)
    theirs = peer_of(ours, MODEL, audio_id=499).model
    mine = dict(in_their_names(ours, lambda one: one))
    for name, parameter in theirs.named_parameters():
        assert torch.equal(parameter, mine[name]), name
        assert parameter.requires_grad == mine[name].requires_grad, name
    assert {name.split(".")[1] for name, one in theirs.named_parameters() if one.requires_grad} == {
        "audio_tower",
        "multi_modal_projector",
    }
