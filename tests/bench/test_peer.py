import numpy as np
import torch

from audio_lm.bench.batches import make_batches
from audio_lm.bench.peer import build_peer, peer_batch, values_by_peer_name
from audio_lm.bench.step import Bench, build_ours
from audio_lm.data.example import Example
from tests.bench.test_step import MODEL

CPU = torch.device("cpu")


def example(ids, learned):
    return Example("a", "asr", 0, ids, [position in learned for position in range(len(ids))], [], ())


def test_rows_are_padded_to_the_longest_and_only_answers_are_learned():
    batch = peer_batch([example([5, 6, 7], {2}), example([8, 9, 4, 3, 2], {3, 4})], [np.zeros(800)] * 2)
    assert batch.token_ids.tolist() == [[5, 6, 7, 0, 0], [8, 9, 4, 3, 2]]
    assert batch.mask.tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert batch.labels.tolist() == [[-100, -100, 7, -100, -100], [-100, -100, -100, 3, 2]]


def test_every_clip_is_padded_to_thirty_seconds():
    ours = build_ours(Bench(model=MODEL, num_ids=500), CPU)
    batch = make_batches(1, 2, 2, 500, CPU)[0]
    features = build_peer(ours, MODEL, audio_id=499).features(batch.rows[0])
    assert features["input_features"].shape == (2, 80, 3000)
    assert (features["attention_mask"].sum(1) < 2000).all()


def test_the_peer_has_our_weights_and_trains_the_same_parts():
    ours = build_ours(Bench(model=MODEL, num_ids=500, stage="encoder"), CPU)
    theirs = build_peer(ours, MODEL, audio_id=499).model
    weights = dict(values_by_peer_name(ours, lambda weight: weight))
    for name, parameter in theirs.named_parameters():
        assert torch.equal(parameter, weights[name]), name
        assert parameter.requires_grad == weights[name].requires_grad, name
    trained = {name.split(".")[1] for name, weight in theirs.named_parameters() if weight.requires_grad}
    assert trained == {"audio_tower", "multi_modal_projector"}
