import pytest

from audio_lm.data.audio.faults import load_waves_or_fault
from audio_lm.data.collate import Collator
from audio_lm.data.config import SpecAugmentConfig
from audio_lm.data.datamodule import MixtureDataModule, PackDataset, PackSampler
from audio_lm.data.examples import ExampleMaker
from audio_lm.data.lengths import cached_token_lengths
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.lazy_cuts import LoadedSource, Rows
from audio_lm.data.mixture.packing import PackingRules
from audio_lm.data.mixture.schedule import Cursor, PackSchedule, Segment

FIRST = Cursor()


@pytest.fixture
def datamodule(make_cuts, vocabulary, tmp_path):
    """Make the data module of a stage with two tasks on one source."""
    cuts = make_cuts(12)
    cache = tmp_path / "cache"
    index = compile_source(
        tmp_path / "data" / "made" / "noise-train.jsonl", "made/noise-train", IndexRules(), cache=cache
    )
    maker = ExampleMaker(vocabulary, "natural")

    def make(
        *,
        cursor=FIRST,
        packs=2,
        num_workers=0,
        seed=0,
        lengths=None,
        max_tokens=200,
        collator=Collator,
        packing="full",
    ):
        sources = [LoadedSource(task, "made/noise-train", Rows(index)) for task in ("asr", "sgc")]
        lengths = lengths or [
            cached_token_lengths(source.rows, maker, source.task, cache=cache) for source in sources
        ]
        segment = Segment(0, (1, 1), (0, 0))
        rules = PackingRules(packs, max_tokens=max_tokens, packing=packing)
        schedule = PackSchedule(["asr", "sgc"], [12, 12], lengths, [segment], rules, window=40, seed=seed)
        collate = collator(policy=SpecAugmentConfig(), seed=seed, load=load_waves_or_fault)
        return MixtureDataModule(
            PackSampler(schedule, cursor),
            PackDataset(sources, maker, collate),
            validation={"asr": cuts[:5], "sgc": cuts[:2]},
            validation_maker=maker,
            max_tokens=200,
            num_workers=num_workers,
        )

    return make
