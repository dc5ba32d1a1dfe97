from itertools import islice

from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import MixtureDataModule, Steps, packs_of
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.mixture import Mixture, with_example


def datamodule(make_cuts, vocabulary, *, first_step=0, accumulate=2, num_workers=0):
    cuts = make_cuts(12)
    maker = ExampleMaker(vocabulary, "tags", 0)
    steps = Steps(
        Mixture({"asr": cuts, "sgc": cuts}, {"asr": 1, "sgc": 1}, maker=maker, seed=0),
        max_tokens=150,
        max_conversations=None,
        accumulate=accumulate,
        first_step=first_step,
    )
    validation = {"asr": cuts[:5], "sgc": cuts[:2]}
    return MixtureDataModule(
        steps, Collator(), validation=validation, validation_maker=maker, num_workers=num_workers
    )


def ids(data, count):
    return [[pack.cut_ids for pack in packs] for packs in islice(data.train_dataloader(), count)]


def test_a_step_is_as_many_packs_as_are_accumulated(make_cuts, vocabulary):
    assert {len(packs) for packs in ids(datamodule(make_cuts, vocabulary, accumulate=3), 4)} == {3}


def test_beginning_later_hears_what_would_have_been_heard(make_cuts, vocabulary):
    whole = ids(datamodule(make_cuts, vocabulary), 6)
    assert ids(datamodule(make_cuts, vocabulary, first_step=4), 2) == whole[4:]


def test_workers_change_nothing(make_cuts, vocabulary):
    assert ids(datamodule(make_cuts, vocabulary, num_workers=1), 3) == ids(
        datamodule(make_cuts, vocabulary), 3
    )


def test_validation_hears_every_cut_of_every_task_once(make_cuts, vocabulary):
    loaders = datamodule(make_cuts, vocabulary).val_dataloader()
    heard = [[cut_id for packs in loader for pack in packs for cut_id in pack.cut_ids] for loader in loaders]
    assert [len(of_task) for of_task in heard] == [5, 2]


def test_packs_keep_the_order_and_lose_nothing(make_cuts, vocabulary):
    maker = ExampleMaker(vocabulary, "tags", 0)
    asking = [with_example(cut, maker, "asr", 0) for cut in make_cuts(7)]
    packs = list(packs_of(asking, max_tokens=150))
    assert [cut.id for pack in packs for cut in pack] == [cut.id for cut in asking]
    assert len(packs) > 1
