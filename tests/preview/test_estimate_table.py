from rich.console import Console

from audio_lm.preview.estimate import estimate_stages
from audio_lm.preview.estimate_table import print_estimates


def test_the_table_names_every_leaf(small):
    console = Console(width=240, record=True)
    print_estimates(list(estimate_stages(small)), console)
    output = console.export_text()
    for stage in small.stages.values():
        for task, sources in stage.mixture.sources.items():
            assert task in output
            assert all(source in output for source in sources)
