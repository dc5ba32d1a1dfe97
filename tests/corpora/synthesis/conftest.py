import pytest

from audio_lm.corpora.synthesis.clips import read_pools
from tests.corpora.synthesis.labelled_clips import SOURCE, write_clips


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="package")
def pools(data_dir):
    return read_pools(data_dir, [SOURCE], seed=0)
