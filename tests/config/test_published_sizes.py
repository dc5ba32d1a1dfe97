import pytest
import yaml

from audio_lm.common.errors import RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.preview.estimate import estimate_stages
from tests.model.originals import ENCODER, SETTINGS, write_qwen2_audio

RECIPE = """
use: {{hardware: cpu}}
model: {model}
stages:
  s:
    prompt: natural
    mixture: {{sources: {{asr: [mine/all-train]}}, weights: {{asr: 1}}, facts: {{mine/all-train: {{hours: 1, clips: 900}}}}}}
    parts: {{encoder: {{lr: 1e-3}}, projector: {{lr: 1e-3}}, new_tokens: {{lr: 1e-3}}, language_model: {{lr: 1e-3}}}}
    steps: 2
    pack_tokens: 800
"""
SIZES = {"num_mels": 128, "width": 32, "num_layers": 2, "num_heads": 2, "mlp_width": 64}


@pytest.fixture
def compose(tmp_path):
    """Function that loads a recipe with a table ``model``."""
    folder = tmp_path / "published"
    write_qwen2_audio(folder)

    def load(model):
        (tmp_path / "mine.yaml").write_text(RECIPE.format(model=model.replace("FOLDER", str(folder))))
        return load_recipe(tmp_path / "mine.yaml")

    return load


def test_a_checkpoint_folder_gives_all_sizes(compose):
    implicit = compose("{load: FOLDER}")
    explicit = compose(f"{{load: FOLDER, encoder: {SIZES}}}".replace("'", ""))
    assert (
        yaml.safe_load(implicit.text)["model"]["encoder"]["num_heads"] == ENCODER["encoder_attention_heads"]
    )
    assert implicit.text == explicit.text
    assert implicit.signature == explicit.signature
    (planned,), (same,) = estimate_stages(implicit.recipe), estimate_stages(explicit.recipe)
    assert planned.memory_gib == same.memory_gib
    assert planned.memory_gib["weights"] > 0


@pytest.mark.parametrize(
    "model",
    [
        f"{{encoder: {{load: FOLDER}}, language_model: {{settings: {SETTINGS}}}}}",
        f"{{load: FOLDER, language_model: {{settings: {SETTINGS}}}}}",
    ],
)
def test_encoder_sizes_are_complete_after_loading(compose, model):
    sizes = compose(model.replace("'", "")).recipe.model.encoder.sizes
    assert (sizes.num_mels, sizes.num_heads) == (128, 2)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("{load: FOLDER, encoder: {num_heads: 4}}", r"mine.yaml:3: .*encoder.num_heads is 4, expected 2"),
        ("{encoder: {load: FOLDER, num_mels: 80}}", r"mine.yaml:3: .*encoder.num_mels is 80, expected 128"),
        (
            "{load: FOLDER, language_model: {settings: {num_attention_heads: 2}}}",
            r"language_model.settings.num_attention_heads is 2, expected 4",
        ),
        ("{encoder: {load: FOLDER/nowhere}}", r"mine.yaml:3: .*is no folder and its config.json"),
    ],
)
def test_a_size_that_contradicts_the_checkpoint_is_refused_with_its_line(compose, model, words):
    with pytest.raises(RecipeError, match=words):
        compose(model)


def test_the_recipe_of_a_run_is_loaded_without_the_pretrained_model(compose, tmp_path):
    kept = tmp_path / "recipe.yaml"
    kept.write_text(compose("{load: FOLDER}").text.replace("/published", "/gone"))
    assert load_recipe(kept, is_complete=True).recipe.model.encoder.sizes.num_mels == 128


def test_the_sizes_of_a_piece_are_those_of_its_own_weights_only(tmp_path):
    write_qwen2_audio(tmp_path / "mine")
    other = load_recipe("finetune/lora_asr", [f"model.load={tmp_path / 'mine'}"]).recipe.model
    assert other.encoder.sizes.width == SIZES["width"]
    assert other.language_model.settings == {}
    assert other.lora.keys() == {"encoder", "language_model"}
    own = load_recipe("finetune/lora_asr").recipe.model
    assert own.encoder.sizes.width == 1280
    assert own.language_model.settings["hidden_size"] == 4096
    with pytest.raises(RecipeError, match=r"encoder\.width is 48, expected 32"):
        load_recipe("finetune/lora_asr", [f"model.load={tmp_path / 'mine'}", "model.encoder.width=48"])
