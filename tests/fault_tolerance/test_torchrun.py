import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from audio_lm.common.cpu import num_cores
from audio_lm.fault_tolerance.torchrun import (
    is_one_machine,
    listens_everywhere,
    needs_torchrun,
    ranks_environment,
    torchrun_arguments,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("devices", "nodes", "environment", "expected"),
    [(1, 1, {}, False), (2, 1, {}, True), (2, 2, {}, False), (2, 1, {"WORLD_SIZE": "2"}, False)],
)
def test_torchrun_is_needed_for_several_devices_of_one_node_without_a_launcher(
    devices, nodes, environment, expected
):
    assert needs_torchrun(devices, nodes, environment) is expected


def test_ranks_divide_the_cores_and_keep_variables_that_are_set(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    variables = ranks_environment(2)
    assert variables["OMP_NUM_THREADS"] == str(max(1, num_cores() // 2))
    assert "GLOO_SOCKET_IFNAME" not in variables


def test_ranks_run_the_given_command():
    arguments = torchrun_arguments(3, ["train", "demo", "seed=1"])
    assert "--nproc-per-node=3" in arguments
    assert arguments[arguments.index("-m") :] == ["-m", "audio_lm.cli.main", "train", "demo", "seed=1"]


@pytest.mark.parametrize(
    ("address", "local_size", "world_size", "expected"),
    [
        ("127.0.0.1", "2", "2", True), ("127.0.0.1", "1", "2", True), ("localhost", "1", "2", True), ("::1", "1", "2", True),
        ("node0", "2", "2", True), ("node0", "1", "2", False), ("10.0.0.1", "8", "16", False),
    ],
)  # fmt: skip
def test_ranks_on_one_machine_are_detected(address, local_size, world_size, expected):
    environment = {"MASTER_ADDR": address, "LOCAL_WORLD_SIZE": local_size, "WORLD_SIZE": world_size}
    assert is_one_machine(environment) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_port_that_is_open_to_other_machines_is_found():
    with socket.create_server(("127.0.0.1", 0)):
        assert not listens_everywhere(os.getpid())
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.create_server((address, 0), family=family):
            assert listens_everywhere(os.getpid()), address
    assert not listens_everywhere(os.getpid())


@pytest.mark.slow
def test_a_user_error_of_the_ranks_keeps_its_exit_code(tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), "demo", "use.scale=tiny", "hardware.devices=2"]
    invalid = ["stages.language.packs_per_step=3", f"--out={tmp_path / 'run'}"]
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [*command, *invalid],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=240,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "3 packs per step cannot be divided among 2 ranks" in done.stderr
    assert "Traceback" not in done.stderr
