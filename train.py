"""Train the stages of a recipe: ``python train.py recipes/demo.yaml seed=1``, one process for each device under torchrun."""

import sys

from audio_lm.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
