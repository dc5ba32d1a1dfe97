"""Security of runs: no secret is written, no port is open to other machines."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from audio_lm.run.process_groups import ProcessGroups
from tests.forked import on_ranks

ROOT = Path(__file__).parents[1]

# Concatenated, so that no secret scanner reports it.
HUB_TOKEN = "hf_" + 34 * "x"
SECRETS = ("hunter2", "s3cr3t", HUB_TOKEN)


@pytest.mark.slow
def test_no_secret_of_a_recipe_reaches_a_file_the_console_or_mlflow(small_recipe, small, tmp_path):
    """The whole command, with secrets in the tracking URI, in a setting and in the environment."""
    environment = {
        **os.environ, "HF_TOKEN": HUB_TOKEN, "MLFLOW_TRACKING_PASSWORD": "hunter2", "AUDIO_LM_NOTE": HUB_TOKEN,
        "MLFLOW_TRACKING_URI": "http://me:hunter2@127.0.0.1:9", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [
        sys.executable, str(ROOT / "train.py"), str(small_recipe), f"--out={tmp_path / 'run'}", "only=[pretrain]",
        "stages.pretrain.steps=1", "evaluation.baselines=[]", "~evaluation.benchmarks.events", "~published",
        "tracking.uri=http://me:s3cr3t@127.0.0.1:9", f"tracking.experiment=a {HUB_TOKEN}",
    ]  # fmt: skip
    trained = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert trained.returncode == 0, trained.stderr
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"
    sync = [
        sys.executable,
        "-c",
        "from audio_lm.cli.main import main; main()",
        "track",
        "sync",
        str(tmp_path / "run"),
    ]
    sent = subprocess.run(
        sync, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert sent.returncode == 0, sent.stderr
    output = trained.stdout + trained.stderr + sent.stdout + sent.stderr
    assert "it has everything" in output
    leaks = [
        (path, secret)
        for path in [
            *(tmp_path / "run").rglob("*"),
            *tmp_path.glob("mlflow.db"),
            *(tmp_path / "mlartifacts").rglob("*"),
        ]
        for secret in SECRETS
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert not leaks
    assert not [secret for secret in SECRETS if secret in output]
    logged = [path.read_text() for path in (tmp_path / "mlartifacts").rglob("recipe.yaml")]
    assert any("uri: http://127.0.0.1:9" in text for text in logged), "the control: the setting was logged"


def listening_addresses(process_id):
    """Addresses of listening sockets of a process and its children."""
    found = set()
    try:
        main = psutil.Process(process_id)
        family = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in family:
        try:
            sockets = process.net_connections(kind="inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        found |= {connection.laddr.ip for connection in sockets if connection.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("num_ranks", "addresses"), [(1, set()), (2, {"127.0.0.1"})])
def test_a_run_listens_on_no_address_but_loopback(num_ranks, addresses, small_recipe, small, tmp_path):
    command = [
        sys.executable, str(ROOT / "train.py"), str(small_recipe), f"--out={tmp_path / 'run'}", "only=[pretrain]",
        "evaluation.baselines=[]", "hardware.num_workers=1", f"hardware.devices={num_ranks}",
        "stages.pretrain.packs_per_step=2", "stages.chat.packs_per_step=2",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (tmp_path / "output").open("w") as output:
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        found, num_polls = set(), 0
        while run.poll() is None:
            found |= listening_addresses(run.pid)
            num_polls += 1
            time.sleep(0.05)
    assert run.returncode == 0, (tmp_path / "output").read_text()
    assert num_polls > 20
    assert found == addresses


@pytest.mark.parametrize("address", ["127.0.0.1", socket.gethostname()])
@pytest.mark.parametrize("ranks_per_node", ["2", "1"])
def test_ranks_of_one_machine_rendezvous_on_loopback(address, ranks_per_node):
    """With torchrun of one node under any master address, and of several nodes on one machine."""
    if ranks_per_node == "1" and address != "127.0.0.1":
        pytest.skip("the address may be of another machine")

    def addresses_of_rank(number):
        os.environ.pop("GLOO_SOCKET_IFNAME", None)
        os.environ |= {"MASTER_ADDR": address, "LOCAL_WORLD_SIZE": ranks_per_node}
        with ProcessGroups("cpu") as ranks:
            ranks.wait()
            found = listening_addresses(os.getpid())
            ranks.wait()
        return found

    assert on_ranks(2, addresses_of_rank) == [{"127.0.0.1"}, {"127.0.0.1"}]


def test_a_listening_socket_is_found(tmp_path):
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in listening_addresses(os.getpid()), "the control"
