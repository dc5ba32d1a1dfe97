import json

import pytest

from audio_lm.bench.gpu.child import main, measure_of
from audio_lm.bench.gpu.parts import PARTS


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_has_its_work(part):
    assert callable(measure_of(part.name))


def test_a_part_is_named_by_the_arguments(tmp_path):
    main(["machine", str(tmp_path / "figures"), "10", "--rehearse"])
    assert "card" in json.loads((tmp_path / "figures").read_text())
