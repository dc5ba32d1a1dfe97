"""A recipe as a SLURM job that is requeued after a preemption.

SLURM signals the batch script some minutes before its time limit. The script forwards the signal to torchrun on every
node, and torchrun to its ranks. They save a checkpoint and exit, and the script requeues the job.

Source: man sbatch and man srun (``--signal``; srun forwards signals to tasks); torchrun's ``--signals-to-handle``.
"""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.distributed.run import get_args_parser

from audio_lm.common.errors import UserError
from audio_lm.config.load import ComposedRecipe
from audio_lm.fault_tolerance.exit_status import FILE as EXIT_REASON
from audio_lm.fault_tolerance.exit_status import STOPPED_BY_SIGNAL
from audio_lm.fault_tolerance.launcher_env import FRESH_STORE

NOTICE_SECONDS = 300  # between the signal and the time limit of the job
SAVE_SECONDS = 240  # torchrun waits so long for its ranks to save
SHUTDOWN_TIMEOUT = "--shutdown-timeout"  # of torchrun, since torch 2.12
FIRST_PORT, NUM_PORTS = 20_000, 20_000
NETWORK_ENDPOINT = f'--rdzv-endpoint="$head:$(({FIRST_PORT} + SLURM_JOB_ID % {NUM_PORTS}))"'
HEAD = 'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
FILE_ENDPOINT = (
    '--rdzv-endpoint="$(mktemp -d)/ranks" --rdzv-conf=store_type=file --local-addr=127.0.0.1'  # opens no port
)

SIGNALS = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"

OPENING = """\
#!/usr/bin/env bash
{directives}
# Written by `audio-lm {author}`; the job is requeued after every preemption and continues from its last checkpoint.
set -uo pipefail
cd {here} || exit 1
"""
WAITING = """\
step=$!
trap 'interrupted=1; kill -USR1 "$step"' USR1 # srun forwards signals to the nodes
trap 'interrupted=1; kill -TERM "$step"' TERM
while true; do
  interrupted=
  wait "$step"
  code=$?
  [[ $interrupted && $code -gt 128 ]] || break # a trap interrupts `wait`
done
"""
ENDING = """\
if [ "$exit_code" = {requeue} ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
exit "$exit_code"
"""
SCRIPT = (
    OPENING
    + """\
run={run}
export {fresh_store}=1 # otherwise restarted ranks read addresses of dead ones

{head}rm -f "$run/{exit_reason}"
srun --kill-on-bad-exit=1 torchrun \\
  --nnodes={nodes} --nproc-per-node={devices} \\
  --rdzv-backend=c10d {endpoint} \\
  --rdzv-id="$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}" --max-restarts={max_restarts} \\
  {signals}{shutdown_timeout} \\
  --no-python {command} &
"""
    + WAITING
    + """
# torchrun exits with 1 whatever code its ranks had, so the code is read from the run folder.
exit_code=$(sed -n 's/^ *"exit_code": *\\([0-9]*\\).*/\\1/p' "$run/{exit_reason}" 2> /dev/null)
exit_code=${{exit_code:-$code}}
echo "run $run ended with code $exit_code"
"""
    + ENDING
)
WORKER_SCRIPT = (
    OPENING
    + """\
export {fresh_store}=1 # of trials on several nodes

{command} &
"""
    + WAITING
    + """\
exit_code=$code
echo "worker $SLURM_ARRAY_TASK_ID ended with code $exit_code"
"""
    + ENDING
)


@dataclass(frozen=True)
class Job:
    """Resources of a SLURM job."""

    nodes: int
    time: str
    partition: str | None = None
    account: str | None = None
    more: tuple[str, ...] = ()
    """Further options of sbatch, such as ``--constraint=h200``."""


def sbatch_script(
    composed: ComposedRecipe, recipe: str, overrides: Sequence[str], job: Job, run: Path
) -> str:
    """Script for sbatch that trains a recipe.

    Args:
        recipe: as named on the command line.
        overrides: of the command line, and further options of ``train``.
        run: folder of the run.
    """
    hardware = composed.recipe.hardware
    settings = [override for override in overrides if not override.startswith(("resume=", "hardware.nodes="))]
    command = ["audio-lm", "train", recipe, *settings, f"hardware.nodes={job.nodes}", "resume=auto"]
    name = composed.recipe.name
    return SCRIPT.format(
        directives=_directives(composed, job, name, (f"--output={name}-%j.log",)),
        author="submit",
        head="" if job.nodes == 1 else HEAD,
        here=shlex.quote(str(Path.cwd())),
        run=shlex.quote(str(run)),
        fresh_store=FRESH_STORE,
        exit_reason=EXIT_REASON,
        nodes=job.nodes,
        devices=hardware.devices,
        endpoint=FILE_ENDPOINT if job.nodes == 1 else NETWORK_ENDPOINT,
        max_restarts=composed.recipe.fault_tolerance.max_restarts,
        signals=SIGNALS,
        shutdown_timeout=_shutdown_timeout(),
        command=shlex.join([*command, "--out", str(run)]),
        requeue=STOPPED_BY_SIGNAL,
    )


def _shutdown_timeout() -> str:
    """Option of torchrun to wait for its ranks; before torch 2.12 it has none, and kills them after 30 s."""
    is_known = SHUTDOWN_TIMEOUT in get_args_parser().format_help()
    return f" {SHUTDOWN_TIMEOUT}={SAVE_SECONDS}" if is_known else ""


def worker_script(
    composed: ComposedRecipe, job: Job, command: str, *, name: str, directives: Sequence[str]
) -> str:
    """Script for sbatch of an array whose tasks are workers of a sweep.

    Args:
        composed: recipe with the resources of a trial.
        command: quoted command of a worker, which runs on the first node of its job.
        name: of the job.
        directives: further ones, such as ``--array=0-7``.
    """
    return WORKER_SCRIPT.format(
        directives=_directives(composed, job, name, directives),
        author="sweep submit",
        here=shlex.quote(str(Path.cwd())),
        fresh_store=FRESH_STORE,
        command=command,
        requeue=STOPPED_BY_SIGNAL,
    )


def torchrun_step(
    *, nodes: int, devices: int, max_restarts: int, endpoint: str, rendezvous: str
) -> tuple[str, ...]:
    """Command that starts a program on every device of the nodes of this job; the program follows.

    Args:
        endpoint: host and port of the first node.
        rendezvous: id that no other step uses.
    """
    return (
        *("srun", "--kill-on-bad-exit=1", "torchrun", f"--nnodes={nodes}", f"--nproc-per-node={devices}"),
        *("--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", f"--rdzv-id={rendezvous}"),
        *(f"--max-restarts={max_restarts}", SIGNALS, *_shutdown_timeout().split(), "--no-python"),
    )


def _directives(composed: ComposedRecipe, job: Job, name: str, others: Sequence[str]) -> str:
    hardware = composed.recipe.hardware
    lines = [
        f"--job-name={name}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={hardware.devices * (1 + hardware.num_workers)}",
        f"--time={job.time}",
        f"--signal=B:USR1@{NOTICE_SECONDS}",
        "--requeue",
        "--open-mode=append",
        *others,
    ]
    if hardware.accelerator == "gpu":
        lines.append(f"--gpus-per-node={hardware.devices}")
    lines += [f"--partition={job.partition}"] if job.partition else []
    lines += [f"--account={job.account}"] if job.account else []
    return "\n".join(f"#SBATCH {line}" for line in (*lines, *job.more))


def write_script(path: Path, script: str) -> None:
    """Write the script to a file that can be edited and passed to sbatch by hand."""
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


def submit(path: Path) -> str:
    """Submit a script with sbatch; returns its output.

    Raises:
        UserError: sbatch is not installed, or refuses the script.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            f"{path} is written, but sbatch is not on PATH -- expected a login node of a SLURM cluster -- copy the file there "
            f"and pass it to sbatch"
        )
    done = subprocess.run(["sbatch", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"sbatch refused {path}: {done.stderr.strip()}; change the options, or the file")
    return done.stdout.strip()
