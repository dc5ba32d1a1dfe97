import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from audio_lm.common.runtime import num_cores
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
def test_only_what_nobody_has_begun_is_begun(devices, nodes, environment, expected):
    assert needs_torchrun(devices, nodes, environment) is expected


def test_ranks_share_the_cores_and_keep_what_somebody_has_set(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    wanted = ranks_environment(2)
    assert wanted["OMP_NUM_THREADS"] == str(max(1, num_cores() // 2))
    assert "GLOO_SOCKET_IFNAME" not in wanted


def test_the_command_of_a_rank_is_the_one_that_was_given():
    said = torchrun_arguments(3, ["train", "demo", "seed=1"])
    assert "--nproc-per-node=3" in said
    assert said[said.index("-m") :] == ["-m", "audio_lm.cli.main", "train", "demo", "seed=1"]


@pytest.mark.parametrize(
    ("address", "here", "in_all", "expected"),
    [
        ("127.0.0.1", "2", "2", True), ("127.0.0.1", "1", "2", True), ("localhost", "1", "2", True), ("::1", "1", "2", True),
        ("node0", "2", "2", True), ("node0", "1", "2", False), ("10.0.0.1", "8", "16", False),
    ],
)  # fmt: skip
def test_ranks_of_one_machine_are_known(address, here, in_all, expected):
    environment = {"MASTER_ADDR": address, "LOCAL_WORLD_SIZE": here, "WORLD_SIZE": in_all}
    assert is_one_machine(environment) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_port_that_is_open_to_others_is_seen():
    with socket.create_server(("127.0.0.1", 0)):
        assert not listens_everywhere(os.getpid())
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.create_server((address, 0), family=family):
            assert listens_everywhere(os.getpid()), address
    assert not listens_everywhere(os.getpid())


@pytest.mark.slow
def test_a_mistake_found_by_the_ranks_leaves_with_its_own_code(tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), "demo", "use.scale=tiny", "hardware.devices=2"]
    wrong = ["stages.language.packs_per_step=3", f"--out={tmp_path / 'run'}"]
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [*command, *wrong],
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
