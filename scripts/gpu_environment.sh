#!/usr/bin/env bash
# Rehearse `make gpu` in an environment like that of a GPU machine: Python 3.12, torch 2.11, transformers 5.17, and no audio-lm.
# First without the packages that read audio, so that their parts are left out, then with them. A machine without a network gets
# those of the second list as wheels (pip download --no-deps), and they go into a folder of PYTHONPATH (pip install --target).
#
#     scripts/gpu_environment.sh build/gpu-environment python3.12
#
# PyPI's torch 2.11 for Linux is a CUDA build (5 GB); it runs on a CPU. TORCH names another, such as 'torch==2.11.0+cpu'
# with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
set -euo pipefail
folder=${1:?the first argument is the folder of the environment}
python=${2:-python3.12}
cd "$(dirname "$0")/.."
if [ ! -x "$folder/bin/python" ]; then
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install -q "${TORCH:-torch==2.11.0}" "transformers==5.17.*" "lightning>=2.6,<2.7" peft torchmetrics \
    sacrebleu rich typer pytest matplotlib scipy
fi
"$folder/bin/python" -m audio_lm.cli bench gpu --rehearse --minutes 15 --out "$folder/without"
"$folder/bin/python" -m pip install -q --no-deps --target "$folder/wheels" lhotse soundfile omegaconf langcodes rapidfuzz espeakng-loader \
  audioread cytoolz toolz intervaltree sortedcontainers cffi pycparser urllib3 hypothesis
PYTHONPATH=$folder/wheels "$folder/bin/python" -m audio_lm.cli bench gpu --rehearse --minutes 15 --out "$folder/with"
