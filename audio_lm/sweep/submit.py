"""A sweep as a SLURM array: every task of the array is a worker, and a trial of several nodes is a step of its job.

Source: man sbatch (``--array``); the signals and the requeue are those of ``run.slurm``.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from audio_lm.common.errors import UserError
from audio_lm.config.load import ComposedRecipe
from audio_lm.config.schema import Recipe
from audio_lm.run import slurm
from audio_lm.sweep.facts import SweepFacts

JOB, RESTARTS, NODES = "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_JOB_NODELIST"


def array_script(
    composed: ComposedRecipe, facts: SweepFacts, folder: Path, job: slurm.Job, *, num_tasks: int
) -> str:
    """Script for sbatch that starts workers of a sweep.

    Args:
        composed: base recipe, for the resources of a trial.
        folder: of the sweep.
        num_tasks: workers; no more than the job's limit of array tasks.
    """
    nodes = [f"--nodes={job.nodes}"] if job.nodes != composed.recipe.hardware.nodes else []
    command = ["audio-lm", "sweep", "work", str(folder), "--no-wait", *nodes]
    return slurm.worker_script(
        composed,
        job,
        shlex.join(command),
        name=facts.name,
        directives=(f"--array=0-{num_tasks - 1}", f"--output={facts.name}-%A_%a.log"),
    )


def trial_prefix(recipe: Recipe, nodes: int, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Command in front of ``audio-lm`` that starts a trial on several nodes of this SLURM job; empty for one node.

    Raises:
        UserError: a trial needs several nodes, and this is no SLURM job with them.
    """
    if nodes == 1:
        return ()
    if JOB not in environment or int(environment.get("SLURM_JOB_NUM_NODES", "1")) < nodes:
        raise UserError(
            f"a trial runs on {nodes} nodes -- expected a SLURM job that has them -- start the workers with `audio-lm sweep "
            f"submit`, or set hardware.nodes=1 in the overrides of the sweep"
        )
    job = int(environment[JOB])
    return slurm.torchrun_step(
        nodes=nodes,
        devices=recipe.hardware.devices,
        max_restarts=recipe.fault_tolerance.max_restarts,
        endpoint=f"{_first_host(environment[NODES])}:{slurm.FIRST_PORT + job % slurm.NUM_PORTS}",
        rendezvous=f"{job}-{environment.get(RESTARTS, '0')}",
    )


def _first_host(node_list: str) -> str:
    done = subprocess.run(
        ["scontrol", "show", "hostnames", node_list], capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout.split():
        raise UserError(
            f"scontrol does not resolve the nodes {node_list!r} ({done.stderr.strip()}) -- expected a running SLURM job -- "
            f"start workers within one"
        )
    return done.stdout.split()[0]
