"""Adapters of a run, loaded by peft on the model that the run started from."""

import json

import pytest
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from audio_lm.common.errors import UserError
from audio_lm.config.load import load_recipe
from audio_lm.export.run import ExportSettings, export_run
from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig, ModelConfig
from audio_lm.model.weights.parts import save_model, updates_of
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.pipeline.vocabulary import build_vocabulary
from audio_lm.run.folder import RunFolder, open_folder
from tests.model.originals import NUM_ROWS, noise, our_logits, write_qwen2_audio
from tests.run.command import run

peft = pytest.importorskip("peft")
RECIPE = """
name: lora
use: {{hardware: cpu}}
model: {{load: {base}, lora: {lora}}}
data_dir: {data}
stages:
  one:
    prompt: {prompt}
    mixture: {{sources: {{sec: [synthetic/events-train]}}, weights: {{sec: 1}}}}
    parts: {{encoder: {{lr: null}}, projector: {{lr: null}}, new_tokens: {{lr: 1e-3}}, language_model: {{lr: 1e-3}}{rates}}}
    steps: 2
"""
TEXT = "{language_model: {rank: 3, alpha: 5, targets: [q_proj, down_proj]}}"
ALL = "{encoder: {rank: 2, alpha: 7}, projector: {rank: 1, alpha: 1}, language_model: {rank: 3, alpha: 5}}"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_qwen2_audio(folder)
    return folder


def finished_run(path, base, lora=TEXT, prompt="natural"):
    """Folder of a run with random updates at the end of its stage; no training."""
    parts = [part for part in ("encoder", "projector", "language_model") if f"{part}:" in lora]
    rates = "".join(f", {part}_lora: {{lr: 1e-3}}" for part in parts)
    recipe = path.with_suffix(".yaml")
    text = RECIPE.format(base=base, data=path.parent, lora=lora, prompt=prompt, rates=rates)
    recipe.write_text(text)
    composed = load_recipe(recipe)
    vocabulary = build_vocabulary(composed.recipe, {})
    model = build_audio_lm(composed.recipe, vocabulary)
    for part in parts:
        for tensor in updates_of(getattr(model, part)).values():
            torch.nn.init.normal_(tensor, std=0.1)
    folder = RunFolder(path)
    open_folder(folder, composed, vocabulary.tokens)
    save_model(model, folder.model("one"))
    folder.mark_finished("one", 2)
    return folder, model, vocabulary


@pytest.mark.parametrize("lora", [TEXT, ALL], ids=["text", "all"])
def test_peft_gives_our_logits(base, tmp_path, lora, capsys):
    folder, model, vocabulary = finished_run(tmp_path / "run", base, lora)
    assert run("export", folder.path, tmp_path / "adapter", "--adapter") == 0
    assert f"as a LoRA adapter of {base}" in capsys.readouterr().out
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base.absolute())
    original = Qwen2AudioForConditionalGeneration.from_pretrained(base).eval()
    inputs = AutoProcessor.from_pretrained(base)(
        text="<|audio_bos|><|AUDIO|><|audio_eos|>one",
        audio=noise(4_000),
        return_tensors="pt",
        sampling_rate=16_000,
    )
    with torch.no_grad():
        before = original(**inputs).logits[0]
        theirs = peft.PeftModel.from_pretrained(original, tmp_path / "adapter").eval()
        expected = theirs(**inputs).logits[0]
    ids = inputs["input_ids"][0].tolist()
    got = our_logits(model, ids, vocabulary.audio_id, noise(4_000))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert (got - before).abs().max() > 1e-4
    back = build_model(
        ModelConfig(load=str(base), adapter=str(tmp_path / "adapter")), num_base=NUM_ROWS, num_new=0
    )
    torch.testing.assert_close(
        our_logits(back, ids, vocabulary.audio_id, noise(4_000)), expected, atol=1e-5, rtol=1e-5
    )


def test_an_exported_adapter_can_be_trained_further(base, tmp_path):
    folder, model, _ = finished_run(tmp_path / "run", base)
    export_run(folder.path, tmp_path / "adapter", ExportSettings(is_adapter=True), report=lambda line: None)
    lora = {"language_model": LoraConfig(rank=3, alpha=5, targets=["q_proj", "down_proj"])}
    config = ModelConfig(load=str(base), adapter=str(tmp_path / "adapter"), lora=lora)
    back = build_model(config, num_base=NUM_ROWS, num_new=0)
    expected, got = updates_of(model.language_model), updates_of(back.language_model)
    assert expected.keys() == got.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def test_the_readme_of_an_adapter_shows_how_to_load_it(base, tmp_path):
    folder, _, _ = finished_run(tmp_path / "run", base)
    export_run(folder.path, tmp_path / "adapter", ExportSettings(is_adapter=True), report=lambda line: None)
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    text = (tmp_path / "adapter/README.md").read_text()
    assert "library_name: peft" in text
    code = text.split("```python\n")[1].split("```")[0].replace("this/folder", str(tmp_path / "adapter"))
    variables = {}
    exec(code, variables)
    assert isinstance(variables["model"], peft.PeftModel)


def test_other_trained_weights_are_named(base, tmp_path):
    folder, model, _ = finished_run(tmp_path / "run", base)
    with torch.no_grad():
        model.encoder.conv1.bias.add_(1.0)
    save_model(model, folder.model("one"))
    folder.mark_finished("one", 2)
    with pytest.raises(UserError, match=r"encoder.conv1.bias differ from .*leave out --adapter"):
        export_run(folder.path, tmp_path / "adapter", ExportSettings(is_adapter=True))
    assert not (tmp_path / "adapter").exists()


def test_new_tokens_have_no_place_in_an_adapter(base, tmp_path):
    folder, _, _ = finished_run(tmp_path / "run", base, prompt="tags")
    with pytest.raises(UserError, match=r"the model has \d+ tokens that .* lacks, such as '<\|"):
        export_run(folder.path, tmp_path / "adapter", ExportSettings(is_adapter=True))


def test_a_run_without_updates_or_without_a_published_base_has_no_adapter(whole_run, tmp_path):
    with pytest.raises(UserError, match=r"the run has no low-rank updates .* leave out --adapter"):
        export_run(whole_run.path, tmp_path / "adapter", ExportSettings(is_adapter=True))
    with pytest.raises(UserError, match="--shard-size has no effect with --adapter"):
        ExportSettings(is_adapter=True, max_shard_bytes=10**7)
