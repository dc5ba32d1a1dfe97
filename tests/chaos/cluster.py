"""Cluster of two nodes on this machine, one rank each, under torchrun as on a real cluster, for fault injection."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
RESUME = "resume=auto"
TIMEOUT = 600  # seconds; only a bound on what hangs
RECIPE = """
use: {{model: tiny, hardware: cpu}}
model: {{lora: {{language_model: {{rank: 2, dropout: 0.1}}}}}}
tracking: {{uri: "sqlite:///{folder}/mlflow.db", num_listening_clips: 1}}
hardware: {{devices: 1, nodes: {ranks}, num_workers: 1}}
fault_tolerance: {{frozen_seconds: {frozen}, first_step_seconds: 120, loader_seconds: 20, building_seconds: {building},
  max_restarts: {max_restarts}, any_num_nodes: {elastic}}}
corpora:
  synthetic: {{clips: {{events: 24, notes: 24, dialogues: 24}}, validation_clips: 3, test_clips: 2}}
stages:
  pretrain:
    prompt: tags
    mixture:
      sources: {{sec: [synthetic/events-train], mna: [synthetic/notes-train]}}
      weights: {{sec: 1, mna: 1}}
    validation: {{sources: {{sec: [synthetic/events-validation]}}, weights: {{sec: 1}}}}
    validate_every: 5
    checkpoint_every: 3
    parts:
      encoder: {{lr: 1e-3}}
      projector: {{lr: 1e-3}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: null}}
      language_model_lora: {{lr: null}}
    steps: {steps}
    pack_tokens: 300
    packs_per_step: 2
  chat:
    prompt: chatml
    mixture: {{sources: {{chat: [synthetic/dialogues-train]}}, weights: {{chat: 1}}}}
    checkpoint_every: 3
    parts:
      encoder: {{lr: null}}
      projector: {{lr: null}}
      new_tokens: {{lr: 1e-3}}
      language_model: {{lr: 1e-3}}
      language_model_lora: {{lr: null}}
    steps: {steps}
    pack_tokens: 300
    packs_per_step: 2
  tune:
    prompt: chatml
    mixture: {{sources: {{chat: [synthetic/dialogues-train]}}, weights: {{chat: 1}}}}
    checkpoint_every: 3
    parts:
      encoder: {{lr: null}}
      projector: {{lr: null}}
      new_tokens: {{lr: null}}
      language_model: {{lr: null}}
      language_model_lora: {{lr: 1e-3}}
    steps: {steps}
    pack_tokens: 300
    packs_per_step: 2
evaluation:
  benchmarks:
    events: {{source: synthetic/events-test, task: sec, metrics: [acc], prompt: tags, stage: pretrain, max_new_tokens: 2}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """One run on several nodes, each an agent of torchrun with one rank.

    Args:
        folder: of this run's recipe, output and records.
        data: folder of the corpora of all runs.
        nodes: as for torchrun; ``1:2`` allows one or two nodes.
        plan: faults to inject; see ``worker.py``.
    """

    def __init__(
        self,
        folder,
        data,
        *,
        nodes="2",
        steps=10,
        frozen=60,
        building=300,
        max_restarts=3,
        restarts=50,
        pause=0.0,
        plan=(),
    ):
        self.folder, self.nnodes, self.restarts = folder, nodes, restarts
        self.nodes = int(nodes.rpartition(":")[2])
        folder.mkdir(parents=True, exist_ok=True)
        self.out = folder / "run"
        self.recipe = folder / "chaos.yaml"
        # Outside the recipe's folder, so only the command line may name it.
        self.places = (f"data_dir={data}",)
        self.recipe.write_text(
            RECIPE.format(
                **{"folder": folder, "ranks": self.nodes, "steps": steps, "frozen": frozen},
                **{"max_restarts": max_restarts, "elastic": str(":" in nodes).lower(), "building": building},
            )
        )
        (folder / "plan.json").write_text(
            json.dumps([{"id": number, **event} for number, event in enumerate(plan)])
        )
        self.environment = os.environ | {
            "CHAOS_FOLDER": str(folder),
            "CHAOS_PAUSE": str(pause),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        self.store = None
        self.agents = {}
        self.launches = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for agent in self.agents.values():
            if agent.poll() is None:
                agent.kill()
                agent.wait()

    def start(self, *overrides):
        """Launch every node."""
        self.launches += 1
        port = free_port()
        # The rendezvous store outlives every node, as that of a cluster does.
        self.store = TCPStore("127.0.0.1", port, is_master=True, timeout=timedelta(seconds=60))
        self.endpoint, self.overrides = f"127.0.0.1:{port}", overrides
        for node in range(self.nodes):
            self.start_node(node)

    def start_node(self, node):
        command = [
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={self.nnodes}", "--nproc-per-node=1"),
            *("--rdzv-backend=c10d", f"--rdzv-endpoint={self.endpoint}", f"--rdzv-id=launch{self.launches}"),
            *(
                "--rdzv-conf=is_host=0,keep_alive_interval=1,keep_alive_max_attempt=3,last_call_timeout=3",
                "--monitor-interval=0.2",
            ),
            *("--local-addr=127.0.0.1", f"--max-restarts={self.restarts}", str(WORKER), str(self.recipe)),
            *("--out", str(self.out), *self.places, *self.overrides),
        ]
        with (self.folder / f"node-{node}.log").open("ab") as log:
            self.agents[node] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def codes(self):
        return [agent.poll() for agent in self.agents.values()]

    def wait(self, seconds=TIMEOUT, *, restart_nodes=False):
        """Wait for all agents and return their exit codes.

        Args:
            restart_nodes: start killed agents again, as a cluster replaces its nodes.
        """
        until = time.monotonic() + seconds
        while True:
            for node, agent in self.agents.items():
                if restart_nodes and agent.poll() == -signal.SIGKILL:
                    self.start_node(node)
            if None not in self.codes():
                return self.codes()
            assert time.monotonic() < until, f"still running after {seconds} s:\n{self.log()}"
            time.sleep(0.1)

    def pid(self, rank, *, seconds=TIMEOUT):
        """Process id of a rank that is training."""
        return self.beat(rank, seconds=seconds)["pid"]

    def beat(
        self, rank, *, seconds=TIMEOUT, condition=lambda beat: beat["phase"] in ("step", "data", "save")
    ):
        """Wait until the heartbeat of a live rank meets a condition; returns the heartbeat."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            beat = json_of(self.out / "heartbeats" / f"rank-{rank}.json")
            if beat and condition(beat) and Path(f"/proc/{beat['pid']}").exists():
                return beat
            assert any(code is None for code in self.codes()), self.log()
            time.sleep(0.05)
        raise AssertionError(f"rank {rank} did not meet the condition:\n{self.log()}")

    def log(self):
        return "\n".join(path.read_text()[-6000:] for path in sorted(self.folder.glob("node-*.log")))

    def exit_reason(self):
        return json_of(self.out / "exit_reason.json")

    def injected(self):
        """Faults injected so far, in order of time."""
        faults = [line for path in self.folder.glob("faults-*.jsonl") for line in lines_of(path)]
        return sorted(faults, key=lambda line: line["time"])


def json_of(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def lines_of(path):
    """Records of a file; its writer may have been killed within the last line."""
    text = path.read_text() if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
