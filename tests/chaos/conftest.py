import pytest

from tests.chaos.cluster import Cluster

pytest.register_assert_rewrite("tests.chaos.comparing")
collect_ignore = ["worker.py"]  # a separate program, which reads its environment at import


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=6, help="number of faults in the random test, 3 at least")
    parser.addoption("--seed", type=int, default=0, help="seed of the random faults")


@pytest.fixture(scope="session")
def chaos_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="session")
def undisturbed(chaos_folder):
    """A run of two nodes without faults, by its number of steps."""
    known = {}

    def run(steps):
        if steps not in known:
            with Cluster(
                chaos_folder / f"undisturbed-{steps}", chaos_folder / "data", steps=steps
            ) as cluster:
                cluster.start()
                assert cluster.wait() == [0, 0], cluster.log()
            known[steps] = cluster
        return known[steps]

    return run
