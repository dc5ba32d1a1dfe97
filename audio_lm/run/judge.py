"""Benchmarks put to the model of each stage, answers kept, scores printed.

An untrained model answers the same questions, so that the table shows what was
learned and not what a lucky guess scores.
"""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console

from audio_lm.build import benchmark_cuts, benchmark_packs, build_audio_lm, build_vocabulary, heard_clips
from audio_lm.compose import load_recipe
from audio_lm.errors import CheckpointError
from audio_lm.evaluation.predict import Prediction, predict, read_predictions, write_predictions
from audio_lm.evaluation.report import print_table
from audio_lm.evaluation.score import read_scores, score_benchmark, write_scores
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.checkpoint import load_weights
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.recipe import Recipe
from audio_lm.run.folder import RunFolder
from audio_lm.tracking.run import RecipeRun
