"""A recipe as a SLURM job that is begun again after it was told to stop.

SLURM signals the batch script some minutes before the time is over; the script passes
that on to every node's torchrun, which passes it on to its ranks. They save and leave, and
the script has the job queued again. Source: man sbatch and srun (``--signal``, signals are
forwarded to tasks); torchrun's ``--signals-to-handle``.
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

NOTICE_SECONDS = 300  # between the signal and the end of the job's time
SAVING_SECONDS = 240  # that torchrun waits for its ranks to save
LONGER = "--shutdown-timeout"
FIRST_PORT, NUM_PORTS = 20_000, 20_000
AMONG_NODES = f'--rdzv-endpoint="$head:$(({FIRST_PORT} + SLURM_JOB_ID % {NUM_PORTS}))"'
HEAD = 'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
ALONE = '--rdzv-endpoint="$(mktemp -d)/ranks" --rdzv-conf=store_type=file --local-addr=127.0.0.1'  # no port is opened

SCRIPT = """\
#!/usr/bin/env bash
{directives}
# Written by `audio-lm submit`; the job goes on where it stopped, as often as it is told to stop.
set -uo pipefail
cd {here} || exit 1
run={run}
export {fresh_store}=1 # restarted ranks would look for dead ones otherwise

{head}rm -f "$run/{exit_reason}"
srun --kill-on-bad-exit=1 torchrun \\
  --nnodes={nodes} --nproc-per-node={devices} \\
  --rdzv-backend=c10d {endpoint} \\
  --rdzv-id="$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}" --max-restarts={max_restarts} \\
  --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1{saving} \\
  --no-python {command} &
step=$!
trap 'kill -USR1 "$step"' USR1 # srun passes signals on to the nodes
trap 'kill -TERM "$step"' TERM
code=0
while kill -0 "$step" 2> /dev/null; do # a trap ends a wait
  wait "$step"
  code=$?
done

# torchrun makes 1 of every code, so the run says itself why it ended.
told=$(sed -n 's/^ *"exit_code": *\\([0-9]*\\).*/\\1/p' "$run/{exit_reason}" 2> /dev/null)
echo "run $run ended with code ${{told:-$code}}"
if [ "${{told:-$code}}" = {requeue} ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
exit "${{told:-$code}}"
"""


@dataclass(frozen=True)
class Job:
    """What SLURM is asked for."""

    nodes: int
    time: str
    partition: str | None = None
    account: str | None = None
    more: tuple[str, ...] = ()
    """Further options of sbatch, such as ``--constraint=h200``."""


def sbatch_script(
    composed: ComposedRecipe, recipe: str, overrides: Sequence[str], job: Job, run: Path
) -> str:
    """The file for sbatch.

    Args:
        recipe: as it was named on the command line.
        overrides: of the command line, and further options of ``train``.
        run: the folder of the run.
    """
    hardware = composed.recipe.hardware
    settings = [one for one in overrides if not one.startswith(("resume=", "hardware.nodes="))]
    command = ["audio-lm", "train", recipe, *settings, f"hardware.nodes={job.nodes}", "resume=auto"]
    return SCRIPT.format(
        directives="\n".join(f"#SBATCH {one}" for one in _directives(composed, job)),
        head="" if job.nodes == 1 else HEAD,
        here=shlex.quote(str(Path.cwd())),
        run=shlex.quote(str(run)),
        fresh_store=FRESH_STORE,
        exit_reason=EXIT_REASON,
        nodes=job.nodes,
        devices=hardware.devices,
        endpoint=ALONE if job.nodes == 1 else AMONG_NODES,
        max_restarts=composed.recipe.fault_tolerance.max_restarts,
        saving=_saving(),
        command=shlex.join([*command, "--out", str(run)]),
        requeue=STOPPED_BY_SIGNAL,
    )


def _saving() -> str:
    """How torchrun is told to wait for its ranks; before torch 2.12 it cannot be, and kills them after 30 s."""
    is_known = LONGER in get_args_parser().format_help()
    return f" {LONGER}={SAVING_SECONDS}" if is_known else ""


def _directives(composed: ComposedRecipe, job: Job) -> list[str]:
    hardware = composed.recipe.hardware
    lines = [
        f"--job-name={composed.recipe.name}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={hardware.devices * (1 + hardware.num_workers)}",
        f"--time={job.time}",
        f"--signal=B:USR1@{NOTICE_SECONDS}",
        "--requeue",
        "--open-mode=append",
        f"--output={composed.recipe.name}-%j.log",
    ]
    if hardware.accelerator == "gpu":
        lines.append(f"--gpus-per-node={hardware.devices}")
    lines += [f"--partition={job.partition}"] if job.partition else []
    lines += [f"--account={job.account}"] if job.account else []
    return lines + list(job.more)


def write_script(path: Path, script: str) -> None:
    """Write the file; it can be looked at, changed and handed to sbatch again."""
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


def submit(path: Path) -> str:
    """Hand the file to sbatch; returns what that says.

    Raises:
        UserError: there is no sbatch here, or it refuses.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            f"{path} is written, but sbatch is not on PATH; expected a login node of a SLURM cluster; "
            f"copy the file there, or add --dry-run"
        )
    done = subprocess.run(["sbatch", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"sbatch refused {path}: {done.stderr.strip()}; change the options, or the file")
    return done.stdout.strip()
