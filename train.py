"""Train the stages of a recipe: ``python train.py recipes/demo.yaml seed=1``, also under torchrun or srun."""

import sys

from audio_lm.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
