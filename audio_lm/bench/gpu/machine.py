"""The machine of a measurement: card, clocks, driver, versions, and the rate of a large matrix product.

Source: dense bf16 rates of tensor cores, without sparsity, from NVIDIA's data sheets of the cards.
"""

import platform
import shutil
import subprocess
import time
from datetime import UTC, datetime

import torch
import transformers

from audio_lm.bench.clips import LONGEST, MEDIAN, SHORTEST, SIGMA
from audio_lm.bench.gpu.parts import Task

TERA = 1e12
DENSE_BF16 = {
    "B200": 2250 * TERA,
    "H200": 989 * TERA,
    "H100 PCIe": 756 * TERA,
    "H100 NVL": 835 * TERA,
    "H100": 989 * TERA,
    "A100": 312 * TERA,
    "A30": 165 * TERA,
    "L40S": 362 * TERA,
    "L40": 181 * TERA,
    "L4": 121 * TERA,
    "A10": 125 * TERA,
    "RTX 4090": 165 * TERA,
}
"""Part of a card's name -> operations per second."""

QUERY = {
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "max_sm_mhz": "clocks.max.sm",
    "watts": "power.draw",
    "degrees": "temperature.gpu",
}
"""Figure -> its name in ``nvidia-smi``."""

WIDTH, SMALL_WIDTH, TIMES = 8192, 512, 10
MIX = f"lognormal (median {MEDIAN:g} s, sigma {SIGMA:g}) between {SHORTEST:g} and {LONGEST:g} s, mean 5.1 s"


def measure_machine(task: Task) -> None:
    """Hand over card, versions, clip mix and the rate of a matrix product; clocks are read just after it."""
    device = torch.device(task.device)
    name = (
        torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    )
    task.put(
        card=name,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        python=platform.python_version(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        cuda=torch.version.cuda,
        clips=MIX,
    )
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        task.put(
            memory_gib=properties.total_memory / 2**30,
            multiprocessors=properties.multi_processor_count,
            compute_capability=f"{properties.major}.{properties.minor}",
        )
    rate = matrix_rate(device)
    task.put(matrix_tflops=rate / TERA, peak_tflops=(peak_of(name) or 0.0) / TERA or None, **clocks())


def peak_of(card: str) -> float | None:
    """Dense bf16 operations per second of a card; None where its name is not in the table.

    >>> peak_of("NVIDIA H200") == 989e12, peak_of("NVIDIA L40S") == 362e12, peak_of("x86_64")
    (True, True, None)
    """
    names = [name for name in DENSE_BF16 if name.lower() in card.lower()]
    return DENSE_BF16[max(names, key=len)] if names else None


def matrix_rate(device: torch.device) -> float:
    """Operations per second of a large matrix product in bf16, of random values."""
    width = WIDTH if device.type == "cuda" else SMALL_WIDTH
    matrix = torch.randn(width, width, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        matrix @ matrix
    wait_for(device)
    start = time.perf_counter()
    for _ in range(TIMES):
        matrix @ matrix
    wait_for(device)
    return 2 * width**3 * TIMES / (time.perf_counter() - start)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done everything that was started on it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clocks() -> dict[str, str]:
    """Driver and clocks of the first card; empty without ``nvidia-smi``, which containers may lack."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, f"--query-gpu={','.join(QUERY.values())}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    rows = [line.split(", ") for line in done.stdout.splitlines()]
    if done.returncode or not rows or len(rows[0]) != len(QUERY):
        return {}
    return dict(zip(QUERY, rows[0], strict=True))
