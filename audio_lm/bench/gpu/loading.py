"""Rate at which audio arrives on a GPU as log-mel spectrograms: whether the data loader can feed it."""

import tempfile
import time
from pathlib import Path

import torch

from audio_lm.bench.gpu.machine import wait_for
from audio_lm.bench.gpu.parts import Task
from audio_lm.bench.loader import clip_packs
from audio_lm.common.audio_units import SAMPLES_PER_SECOND, Seconds
from audio_lm.common.env import is_main
from audio_lm.common.errors import UserError
from audio_lm.data.datamodule import MixtureDataModule, PackSampler
from audio_lm.data.mixture.schedule import Cursor
from audio_lm.model.encoders.log_mel import LogMel
from audio_lm.model.encoders.packed_layout import packed_layout

WORKERS = 1, 2, 4, 8
NUM_CLIPS, FEW_CLIPS = 400, 40
LONGEST_RUN: Seconds = 5.0
WARM_UP_STEPS = 2


def measure_loading(task: Task) -> None:
    """Read FLAC files with some numbers of workers, move the packs to the device and compute log-mel there."""
    assert is_main(), "one process measures"
    device = torch.device(task.device)
    with tempfile.TemporaryDirectory() as folder:
        packs, schedule = clip_packs(Path(folder), FEW_CLIPS if task.is_rehearsal else NUM_CLIPS)
        for workers in WORKERS[: 1 if task.is_rehearsal else len(WORKERS)]:
            seconds = min(LONGEST_RUN, task.left / 6)
            module = MixtureDataModule(
                PackSampler(schedule, Cursor()),
                packs,
                validation={},
                validation_maker=packs.maker,
                max_tokens=schedule.rules.max_tokens,
                num_workers=workers,
            )
            rate = _audio_per_second(module, device, seconds)
            task.put(**{f"workers_{workers}_audio_s_per_s": rate})


def _audio_per_second(module: MixtureDataModule, device: torch.device, seconds: Seconds) -> float:
    mel = LogMel(module.packs.collator.num_mels)
    num_samples, start = 0, 0.0
    for number, batch in enumerate(module.train_dataloader()):
        if isinstance(batch, UserError):
            raise batch
        if number == WARM_UP_STEPS:
            wait_for(device)
            start = time.perf_counter()
        for pack in module.transfer_batch_to_device(batch, device, 0):
            mel(pack.waves, packed_layout(pack.num_samples))
            num_samples += sum(pack.num_samples) if number >= WARM_UP_STEPS else 0
        if number > WARM_UP_STEPS and time.perf_counter() - start > seconds:
            break
    wait_for(device)
    return num_samples / SAMPLES_PER_SECOND / (time.perf_counter() - start)
