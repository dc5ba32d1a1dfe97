import numpy as np
import torch

from audio_lm.bench.batches import batches_of
from audio_lm.bench.clips import even_seconds, seconds_of

CPU = torch.device("cpu")


def test_few_clips_stand_for_the_whole_mix():
    few, many = even_seconds(16, "test"), seconds_of(20_000, "test")
    assert abs(few.mean() - many.mean()) < 0.15
    assert np.abs(np.quantile(few, [0.25, 0.5, 0.75]) - np.quantile(many, [0.25, 0.5, 0.75])).max() < 0.35


def test_both_sides_get_the_same_words_and_clips():
    (batch,) = batches_of(1, 5, 2, 100, CPU)
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


def test_answers_alone_are_learned_and_audio_stands_before_the_question():
    (batch,) = batches_of(1, 3, 3, 100, CPU)
    assert 30 <= batch.pack.num_learned <= 180
    assert (batch.pack.token_ids[batch.pack.audio_index] == 99).all()
    assert not set(batch.pack.learned_index.tolist()) & set(batch.pack.audio_index.tolist())
