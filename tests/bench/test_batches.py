import numpy as np
import torch

from audio_lm.bench.batches import make_batches
from audio_lm.bench.clips import even_seconds, random_seconds

CPU = torch.device("cpu")


def test_a_few_even_lengths_match_the_distribution():
    few, many = even_seconds(16, "test"), random_seconds(20_000, "test")
    assert abs(few.mean() - many.mean()) < 0.15
    assert np.abs(np.quantile(few, [0.25, 0.5, 0.75]) - np.quantile(many, [0.25, 0.5, 0.75])).max() < 0.35


def test_both_models_get_the_same_tokens_and_clips():
    (batch,) = make_batches(1, 5, 2, 100, CPU)
    assert [len(rows.token_ids) for rows in batch.rows] == [2, 2, 1]
    packed = batch.pack.token_ids.split(batch.pack.cu_seq_lens.diff().tolist())
    padded = [
        row[mask.bool()] for rows in batch.rows for row, mask in zip(rows.token_ids, rows.mask, strict=True)
    ]
    for ours, theirs in zip(packed, padded, strict=True):
        assert torch.equal(ours, theirs)
    assert sum(int((rows.labels >= 0).sum()) for rows in batch.rows) == batch.pack.num_learned
    waves = np.concatenate([wave for rows in batch.rows for wave in rows.waves])
    assert np.array_equal(waves, batch.pack.waves.numpy())


def test_only_answers_are_learned_and_audio_tokens_are_at_the_audio_positions():
    (batch,) = make_batches(1, 3, 3, 100, CPU)
    assert 30 <= batch.pack.num_learned <= 180
    assert (batch.pack.token_ids[batch.pack.audio_index] == 99).all()
    assert not set(batch.pack.learned_index.tolist()) & set(batch.pack.audio_index.tolist())
