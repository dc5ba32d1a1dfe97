import io

from rich.console import Console

from audio_lm.config.load import load_recipe
from audio_lm.preview.describe import print_origins, print_recipe, rendered_examples
from tests.pairs import CUT_SET, write_pairs


def printed_by(show, *args, **kwargs):
    console = Console(record=True, width=200, file=io.StringIO())
    show(*args, **kwargs, console=console)
    return console.export_text()


def test_stages_are_columns_with_their_learning_rates(small_recipe):
    changed = ["stages.chat.optimizer.kind=muon", "stages.chat.optimizer.matrix_factor=3"]
    output = printed_by(print_recipe, load_recipe(small_recipe, changed), num_per_task=0)
    expected = ("pretrain", "chat", "frozen", "0.001", "adamw", "muon, matrices x 3", "sec 50.0 %", "chatml")
    for words in expected:
        assert words in output, words


def test_examples_of_each_task_are_rendered(small_recipe):
    output = printed_by(print_recipe, load_recipe(small_recipe), num_per_task=1)
    for words in (
        "pretrain / sec",
        "pretrain / mna",
        "chat / chat",
        "<|event|>",
        "<|im_start|>assistant",
        "[clip 1:",
    ):
        assert words in output, words


def test_every_value_is_shown_with_its_origin(small_recipe):
    output = printed_by(print_origins, load_recipe(small_recipe, ["seed=7"]))
    assert "seed = 7  command line" in output
    assert "conf/model/tiny.yaml:" in output
    assert "default" in output


def test_rendered_examples_show_every_task_and_what_is_learned(small):
    examples = list(rendered_examples(small, num_per_task=1))
    assert {(example.stage, example.task) for example in examples} == {
        ("pretrain", "sec"),
        ("pretrain", "mna"),
        ("chat", "chat"),
    }
    for example in examples:
        assert any(is_learned for _, is_learned in example.pieces)
        assert any("clip 1" in text for text, _ in example.pieces)
        assert 0 < example.num_audio_tokens < example.num_tokens


def test_an_objective_is_shown_with_its_loss_and_both_answers(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(small.data_dir, tmp_path / "data")
    (tmp_path / "prefer.yaml").write_text(
        f"""
use: {{model: tiny, hardware: cpu}}
stages:
  prefer:
    prompt: chatml
    objective: dpo
    dpo: {{beta: 0.3, sft: 0.2}}
    spec_augment: null
    mixture: {{sources: {{chat: [{CUT_SET}]}}, weights: {{chat: 1}}}}
    parts: {{projector: {{lr: 1e-3}}}}
    steps: 1
  reward:
    prompt: chatml
    objective: grpo
    grpo: {{rewards: {{acc: 1}}, num_answers: 4, max_new_tokens: 9}}
    spec_augment: null
    mixture: {{sources: {{chat: [{CUT_SET}]}}, weights: {{chat: 1}}}}
    parts: {{projector: {{lr: 1e-3}}}}
    steps: 1
"""
    )
    output = printed_by(print_recipe, load_recipe("prefer.yaml"), num_per_task=1)
    for words in ("dpo: sigmoid, beta 0.3, sft 0.2", "grpo: acc x 1; 4 answers", "-- rejected:"):
        assert words in output, words
