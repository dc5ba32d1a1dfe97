"""LoRA adapters that peft wrote for a Qwen2-Audio, compared with the logits of peft."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.model.build import build_model
from audio_lm.model.config import LoraConfig, ModelConfig
from audio_lm.model.meta_init import build_on_meta, init_weights
from audio_lm.model.weights.adapter import CONFIG, WEIGHTS, read_adapter
from audio_lm.training.fsdp import materialise
from tests.model.originals import NUM_ROWS, noise, our_logits, write_qwen2_audio

peft = pytest.importorskip("peft")
QUESTION = "<|audio_bos|><|AUDIO|><|audio_eos|>one two"
TEXT_ONLY = r".*language_model.*\.(q_proj|v_proj|down_proj)"


def write_adapter_of_peft(base, folder, **settings):
    """Adapter with random updates, saved by peft; returns the logits of peft for a question."""
    torch.manual_seed(1)
    model = peft.PeftModel(
        Qwen2AudioForConditionalGeneration.from_pretrained(base),
        peft.LoraConfig(
            **{"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "fc1", "linear"]} | settings
        ),
    ).eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    inputs = question(base)
    with torch.no_grad():
        return model(**inputs).logits[0]


def question(base):
    processor = AutoProcessor.from_pretrained(base)
    return processor(text=QUESTION, audio=noise(4_000), return_tensors="pt", sampling_rate=16_000)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_qwen2_audio(folder)
    return folder


@pytest.fixture(scope="module")
def plain(base, tmp_path_factory):
    """An adapter of encoder, projector and language model, and the logits of peft."""
    folder = tmp_path_factory.mktemp("adapter")
    return folder, write_adapter_of_peft(base, folder)


@pytest.fixture(scope="module")
def text_only(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    return folder, write_adapter_of_peft(base, folder, target_modules=TEXT_ONLY)


def built(config):
    return build_model(config, num_base=NUM_ROWS, num_new=0)


def on_meta(config):
    model = build_on_meta(config, num_base=NUM_ROWS, num_new=0)
    materialise(model, torch.device("cpu"))
    init_weights(model, config, num_base=NUM_ROWS, num_new=0)
    return model


def logits(model, base):
    inputs = question(base)
    audio_id = json.loads((base / "config.json").read_text())["audio_token_index"]
    return our_logits(model, inputs["input_ids"][0].tolist(), audio_id, noise(4_000))


def assert_close(got, expected):
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("build", [built, on_meta])
def test_a_merged_adapter_gives_the_logits_of_peft(base, plain, build):
    folder, expected = plain
    model = build(ModelConfig(load=str(base), adapter=str(folder)))
    assert_close(logits(model, base), expected)
    assert not torch.allclose(logits(built(ModelConfig(load=str(base))), base), expected, atol=1e-2)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"rank_pattern": {r"audio_tower\..*": 2}, "alpha_pattern": {"multi_modal_projector.linear": 1}},
        {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_scales_and_ranks_per_layer_are_those_of_peft(base, tmp_path, settings):
    expected = write_adapter_of_peft(base, tmp_path, **settings)
    assert_close(logits(built(ModelConfig(load=str(base), adapter=str(tmp_path))), base), expected)


def test_names_of_transformers_4_are_read(base, plain, tmp_path):
    """As ms-swift and peft wrote them before transformers 5."""
    folder, expected = plain
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    renamed = {
        name.replace(".model.model.language_model.", ".model.language_model.model.").replace(
            ".model.model.", ".model."
        ): tensor
        for name, tensor in load_file(folder / WEIGHTS).items()
    }
    assert any(name.startswith("base_model.model.language_model.model.layers") for name in renamed)
    save_file(renamed, tmp_path / WEIGHTS)
    assert_close(logits(built(ModelConfig(load=str(base), adapter=str(tmp_path))), base), expected)


@pytest.mark.parametrize("build", [built, on_meta])
def test_an_adapter_of_a_part_with_updates_gives_them_their_values(base, text_only, build):
    folder, expected = text_only
    lora = {"language_model": LoraConfig(rank=4, alpha=6, targets=["q_proj", "v_proj", "down_proj"])}
    model = build(ModelConfig(load=str(base), adapter=str(folder), lora=lora))
    assert_close(logits(model, base), expected)
    plain_model = built(ModelConfig(load=str(base)))
    weight = model.language_model.model.layers[0].self_attn.q_proj.get_base_layer().weight
    assert torch.equal(weight, plain_model.language_model.model.layers[0].self_attn.q_proj.weight)


def test_updates_of_another_shape_or_scale_are_refused(base, text_only):
    folder, _ = text_only
    fitting = LoraConfig(rank=4, alpha=6, targets=["q_proj", "v_proj", "down_proj"])
    for other in (
        replace(fitting, rank=2),
        replace(fitting, alpha=8),
        replace(fitting, targets=["q_proj", "v_proj"]),
    ):
        words = r"model.lora.language_model has rank .* has rank 4, alpha 6 and 6 layers, down_proj, q_proj, v_proj"
        with pytest.raises(RecipeError, match=words):
            built(ModelConfig(load=str(base), adapter=str(folder), lora={"language_model": other}))


def test_an_adapter_needs_a_whole_model():
    with pytest.raises(RecipeError, match=r"model.adapter is 'x', but model.load is null"):
        ModelConfig(adapter="x")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"use_dora": True}, "use_dora is True"),
        ({"bias": "lora_only"}, "bias is 'lora_only'"),
        ({"modules_to_save": ["multi_modal_projector"]}, r"modules_to_save is \['multi_modal_projector'\]"),
        ({"trainable_token_indices": [1, 2]}, r"trainable_token_indices is \[1, 2\]"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base"),
        (
            {"lora_bias": True, "use_dora": True},
            "use_dora is True; lora_bias is True|lora_bias is True; use_dora",
        ),
        ({"r": 0}, "r is 0, expected a number over 0"),
        ({"r": "four"}, "r is 'four', expected a number"),
        ({"r": 3}, r"has shapes \(4, \d+\) and \(\d+, 4\), expected rank 3"),
        ({"alpha_pattern": {"(": 1}}, "alpha_pattern cannot be read"),
        ({"alpha_pattern": {"(a+)+": 1}}, "could take for ever"),
        ({"rank_pattern": 3}, "rank_pattern cannot be read"),
    ],
)
def test_what_is_more_than_low_rank_updates_is_refused(plain, tmp_path, settings, words):
    shutil.copytree(plain[0], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / CONFIG).read_text()) | settings
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words) as refused:
        read_adapter(str(tmp_path))
    assert str(tmp_path) in str(refused.value)


def rename(weights, old, new):
    return {name.replace(old, new): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: rename(w, "layers.1.", "layers.7."), r"the model has no layer .*layers\.7\."),
        (lambda w: {**w, "base_model.model.lm_head.weight": torch.zeros(1)}, "lm_head.weight is no update"),
        (lambda w: {name: t for name, t in w.items() if "lora_B" not in name}, "lora_B.weight is missing"),
        (
            lambda w: {name: t[:, :5].clone() if "lora_A" in name else t for name, t in w.items()},
            "is for a weight of shape",
        ),
        (lambda w: rename(w, "audio_tower", "vision_tower"), "vision_tower.* is extra"),
        (lambda w: {}, "has no tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_named(base, plain, tmp_path, change, words):
    shutil.copytree(plain[0], tmp_path, dirs_exist_ok=True)
    save_file(change(load_file(tmp_path / WEIGHTS)), tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=words):
        built(ModelConfig(load=str(base), adapter=str(tmp_path)))


def test_an_adapter_of_the_output_layer_is_refused_because_peft_copies_the_base_into_it(base, tmp_path):
    write_adapter_of_peft(base, tmp_path, target_modules=["lm_head", "down_proj"])
    with pytest.raises(CheckpointError, match=r"lm_head.base_layer.weight is no update"):
        read_adapter(str(tmp_path))


def test_an_adapter_in_place_of_a_model_is_answered_with_the_key(plain):
    with pytest.raises(CheckpointError, match=r"is a LoRA adapter, .* give it as model.adapter"):
        built(ModelConfig(load=str(plain[0])))


def test_an_incomplete_folder_is_refused(plain, tmp_path):
    with pytest.raises(CheckpointError, match=r"adapter_config.json is missing; give the folder"):
        read_adapter(str(tmp_path))
    shutil.copy(plain[0] / CONFIG, tmp_path)
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors does not exist"):
        read_adapter(str(tmp_path))
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is pickled, and loading such a file can run code"):
        read_adapter(str(tmp_path))
    (tmp_path / CONFIG).write_text("[]")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_adapter(str(tmp_path))
