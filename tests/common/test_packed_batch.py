import torch

from audio_lm.data.collate import Collator
from audio_lm.data.examples import ExampleMaker, with_example


def test_moving_a_pack_moves_every_tensor_and_changes_nothing_else(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags")
    pack = Collator()([with_example(cut, maker.example(cut, "asr")) for cut in make_cuts(2)])
    moved = pack.to(torch.device("meta"))
    assert {moved.token_ids.device.type, moved.waves.device.type, moved.labels.device.type} == {"meta"}
    assert (moved.cut_ids, moved.num_samples, moved.max_length) == (
        pack.cut_ids,
        pack.num_samples,
        pack.max_length,
    )
    assert len(pack) == 2
    assert pack.num_learned == len(pack.labels) > 0
