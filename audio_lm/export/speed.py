"""Answers per second of an evaluation, beside the ``generate`` of transformers on the exported folder of the same model.

Both answer the same questions about the same clips from files, greedily, and all tokens are compared first: times of
different answers are not compared. Ours is the evaluation's own path: prompts of similar length together, without
padding to 30 s. Theirs pads every clip to 30 s, and batches on the left.
"""

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from audio_lm.bench.clips import WORDS, write_audio, write_manifest
from audio_lm.bench.roofline import clock
from audio_lm.common.audio_units import SAMPLES_PER_SECOND
from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.config.schema import Recipe, StageConfig
from audio_lm.data.config import MixtureConfig
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.evaluation.config import BenchmarkConfig
from audio_lm.export.hugging_face import export_model
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.build import build_model
from audio_lm.model.decoder.generate import GenerationOptions, generate
from audio_lm.pipeline.benchmark_jobs import BenchmarkJobs, Job
from audio_lm.prompts.tokenizer import train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.answering import answer_pack, end_ids_of
from audio_lm.run.load_model import open_published

STAGE, TASK, SOURCE = "model", "asr", "bench/clips-test"
PEER_BATCHES = 1, 8


@dataclass(frozen=True)
class GenerateSettings:
    """Questions, and how often they are answered."""

    clips: int = 64
    """Number of questions."""

    max_new_tokens: int = 16
    rounds: int = 3
    source: str | None = None
    """Cut-set of the questions, ``corpus/subset-split``; None makes clips of noise."""

    max_seconds: float = 3.0
    """Longest clip of noise; the shortest has one second. The default is that of the demo's data."""

    data_dir: str = "data"
    task: str = TASK
    stage: str | None = None
    """Stage of a run; None takes the last one with weights."""


@dataclass(frozen=True)
class GenerateFigures:
    """Answers per second: CPU time of one thread on a CPU, time on a GPU; medians."""

    answers_per_s: float
    """Of an evaluation, which forms its own packs."""

    answers_per_s_in_packs: dict[int, float]
    """Of the same code with packs of fixed numbers of prompts."""

    theirs_per_s: dict[int, float]
    """Batch size of transformers -> answers per second."""

    ratios: dict[int, float]
    """Batch size of transformers -> speed of an evaluation over theirs."""

    ratios_in_packs: dict[int, float]
    """The same with packs as large as the batches."""

    answers: int
    answers_equal: int
    """Answers whose tokens are all equal, at every batch size."""

    tokens: int
    """Tokens of all answers."""

    mean_clip_s: float
    prompt_tokens: float
    """Mean number of tokens of a prompt, audio included."""


class PeerAnswers:
    """Transformers' model and processor, and the questions as they get them."""

    def __init__(self, folder: Path, device: torch.device, max_new_tokens: int) -> None:
        model: Any = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
        self.model = model.to(device).train(False)
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        self.processor.tokenizer.padding_side = "left"
        self.max_new_tokens = max_new_tokens

    def text_of(self, job: Job, audio_id: int) -> str:
        """Prompt with one audio token for each clip.

        Raises:
            RuntimeError: the processor makes another prompt of it.
        """
        expected = list(job.example.token_ids)
        runs = [[*run] for _, run in groupby(expected, key=lambda token: token == audio_id)]
        short = [token for run in runs for token in (run[:1] if run[0] == audio_id else run)]
        text: str = self.processor.tokenizer.decode(short, skip_special_tokens=False)
        ids = self._inputs([text], [job])["input_ids"][0].tolist()
        if ids != expected:
            raise RuntimeError(
                f"prompt {text[:80]!r} becomes {len(ids)} tokens in transformers, expected the {len(expected)} of the "
                f"evaluation; answers to different prompts are not compared"
            )
        return text

    def answer(self, texts: Sequence[str], jobs: Sequence[Job]) -> list[list[int]]:
        """Tokens of the answers to a batch of questions, end tokens and padding included."""
        inputs = self._inputs(texts, jobs).to(self.model.device)
        with torch.no_grad():
            generated = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        tokens: list[list[int]] = generated[:, inputs["input_ids"].shape[1] :].tolist()
        return tokens

    def _inputs(self, texts: Sequence[str], jobs: Sequence[Job]) -> Any:
        waves = [wave for job in jobs for wave in load_waves(job.cut)]
        return self.processor(
            text=[*texts], audio=waves, sampling_rate=SAMPLES_PER_SECOND, return_tensors="pt", padding=True
        )


def bench_generate(
    run: str | None, settings: GenerateSettings, *, trusts_code: bool = False
) -> GenerateFigures:
    """Export a model, check that transformers gives the same answers, and measure both.

    Args:
        run: folder of a run; None takes a model of the demo's size with random weights.

    Raises:
        UserError: there is no such run or cut-set, or a setting has no effect.
    """
    if run is None and settings.stage is not None:
        raise UserError(f"--stage {settings.stage} has no effect without a run; name the folder of one")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "exported"
        if run is None:
            export_model(*random_model(), folder)
        else:
            exported = ExportSettings(stage=settings.stage)
            export_run(Path(run), folder, exported, trusts_code=trusts_code, report=lambda _: None)
        data_dir = settings.data_dir
        if settings.source is None:
            data_dir = temporary
            lines = write_audio(
                folder.parent / "audio", np.linspace(1.0, settings.max_seconds, settings.clips)
            )
            write_manifest(Path(data_dir) / f"{SOURCE}.jsonl", lines)
        return _measure(folder, data_dir, settings)


def random_model() -> tuple[AudioLM, Vocabulary]:
    """Model of the demo's size with random weights, whose answers depend on the clip."""
    tokenizer = train_tokenizer([" ".join(WORDS)], vocab_size=300)
    vocabulary = Vocabulary(tokenizer, num_base=len(tokenizer))
    torch.manual_seed(0)
    config = load_recipe("demo").recipe.model
    model = build_model(config, num_base=vocabulary.num_base, num_new=len(vocabulary.new_tokens))
    for parameter in model.parameters():
        # With the small weights of a new model every answer would repeat one token.
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=2 * parameter.shape[1] ** -0.5)
    return model.train(False), vocabulary


def _measure(folder: Path, data_dir: str, settings: GenerateSettings) -> GenerateFigures:
    published = open_published(str(folder))
    model = published.load()
    device = next(model.parameters()).device
    if device.type == "cpu":
        torch.set_num_threads(1)
    benchmark = BenchmarkConfig(
        source=settings.source or SOURCE,
        task=settings.task,
        metrics=["wer"],
        prompt=published.prompt,
        stage=STAGE,
        max_clips=settings.clips,
        max_new_tokens=settings.max_new_tokens,
    )
    stage = StageConfig(prompt=published.prompt, mixture=MixtureConfig(), parts={}, steps=1)
    recipe = Recipe(name="bench", stages={STAGE: stage}, model=published.config, data_dir=data_dir)
    jobs = BenchmarkJobs(recipe, benchmark, published.vocabulary)
    if not jobs.jobs:
        raise UserError(f"{benchmark.source} has no clip; name a cut-set with --source")
    peer = PeerAnswers(folder, device, settings.max_new_tokens)
    texts = {key: peer.text_of(job, published.vocabulary.audio_id) for key, job in jobs.jobs.items()}
    answers, num_equal = _compare(model, jobs, peer, texts)
    times = _time_alternating(model, jobs, peer, texts, settings.rounds, device)
    return _figures(jobs, answers, num_equal, times)


def _packs_of(jobs: BenchmarkJobs, size: int) -> list[list[str]]:
    """The jobs in the order of the evaluation, in packs of a fixed number."""
    keys = [key for pack in jobs.packs for key in pack]
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _compare(
    model: AudioLM, jobs: BenchmarkJobs, peer: PeerAnswers, texts: Mapping[str, str]
) -> tuple[dict[str, list[int]], int]:
    """Answers of the evaluation as tokens, and the number of them that transformers gives at every batch size."""
    ends = end_ids_of(jobs.vocabulary)
    options = GenerationOptions(ends, jobs.benchmark.max_new_tokens)
    ours: dict[str, list[int]] = {}
    for pack in jobs.packs:
        generated = generate(model, jobs.collate(pack), options)
        ours |= {key: answer.token_ids for key, (answer,) in zip(pack, generated, strict=True)}
    is_equal = dict.fromkeys(ours, True)
    for size in PEER_BATCHES:
        for batch in _packs_of(jobs, size):
            answers = peer.answer([texts[key] for key in batch], [jobs.jobs[key] for key in batch])
            for key, ids in zip(batch, answers, strict=True):
                is_equal[key] &= ours[key] == _without_end(ids, ends)
    return ours, sum(is_equal.values())


def _without_end(ids: Sequence[int], ends: set[int]) -> list[int]:
    return [*ids][: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


def _time_alternating(
    model: AudioLM,
    jobs: BenchmarkJobs,
    peer: PeerAnswers,
    texts: Mapping[str, str],
    rounds: int,
    device: torch.device,
) -> dict[tuple[str, int], list[float]]:
    """Seconds of all answers in every round; (side, size of packs) -> rounds, with size 0 for the evaluation's own."""

    def ours(packs: Sequence[Sequence[str]]) -> Iterator[object]:
        for pack in packs:
            yield answer_pack(model, jobs, pack)

    def theirs(packs: Sequence[Sequence[str]]) -> Iterator[object]:
        for pack in packs:
            answers = peer.answer([texts[key] for key in pack], [jobs.jobs[key] for key in pack])
            yield [jobs.vocabulary.text(ids) for ids in answers]

    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for side, size in (("ours", 0), *((s, n) for n in PEER_BATCHES for s in ("ours", "theirs"))):
            packs = _packs_of(jobs, size) if size else jobs.packs
            start = clock(device)
            for _ in (ours if side == "ours" else theirs)(packs):
                pass
            times.setdefault((side, size), []).append(clock(device) - start)
    return times


def _figures(
    jobs: BenchmarkJobs,
    answers: Mapping[str, Sequence[int]],
    num_equal: int,
    times: Mapping[tuple[str, int], Sequence[float]],
) -> GenerateFigures:
    def ratio(size: int, packs: int) -> float:
        pairs = zip(times["theirs", size], times["ours", packs], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    per_s = {key: len(answers) / statistics.median(seconds) for key, seconds in times.items()}
    examples = [job.example for job in jobs.jobs.values()]
    return GenerateFigures(
        answers_per_s=per_s["ours", 0],
        answers_per_s_in_packs={size: per_s["ours", size] for size in PEER_BATCHES},
        theirs_per_s={size: per_s["theirs", size] for size in PEER_BATCHES},
        ratios={size: ratio(size, 0) for size in PEER_BATCHES},
        ratios_in_packs={size: ratio(size, size) for size in PEER_BATCHES},
        answers=len(answers),
        answers_equal=num_equal,
        tokens=sum(map(len, answers.values())),
        mean_clip_s=jobs.num_seconds / len(answers),
        prompt_tokens=statistics.mean(map(len, examples)),
    )


def format_generate(figures: GenerateFigures) -> list[str]:
    """Format the figures with the conditions of the measurement."""
    lines = [
        f"{figures.answers_per_s:.1f} answers/s in an evaluation: {figures.answers} answers of "
        f"{figures.tokens / figures.answers:.1f} tokens to prompts of {figures.prompt_tokens:.0f} tokens, clips of "
        f"{figures.mean_clip_s:.1f} s",
        f"  equal tokens: {figures.answers_equal} of {figures.answers} answers",
    ]
    for size, theirs in figures.theirs_per_s.items():
        lines.append(
            f"  transformers, batch {size}: {theirs:.2f} answers/s, so the evaluation is {figures.ratios[size]:.1f} x as "
            f"fast; packs of {size}: {figures.answers_per_s_in_packs[size]:.1f} answers/s, "
            f"{figures.ratios_in_packs[size]:.1f} x"
        )
    return lines
