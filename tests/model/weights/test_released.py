import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.common.errors import CheckpointError, RecipeError
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LoraConfig, ModelConfig, ProjectorConfig
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.model.weights.parts import updates_of, weights_of
from audio_lm.model.weights.released import open_released
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import render
from audio_lm.prompts.tokenizer import load_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary, tokens_for
from audio_lm.tasks.dummy_labels import labels_for
from audio_lm.tasks.registry import find_task
from tests.model import qwen_audio
from tests.model.originals import NUM_ROWS, config_of, noise, our_logits, write_qwen2_audio

QUESTION = "<|audio_bos|><|AUDIO|><|audio_eos|>and<|audio_bos|><|AUDIO|><|audio_eos|>one two"


def loaded(folder):
    """Our model with the weights of a published folder, and its vocabulary."""
    vocabulary = Vocabulary(load_tokenizer(str(folder)), num_base=open_released(str(folder)).num_rows)
    return build_model(config_of(folder), num_base=vocabulary.num_base, num_new=0), vocabulary


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return folder, write_qwen2_audio(folder)


@pytest.mark.parametrize("layout", [4, 5])
def test_a_qwen2_audio_of_either_layout_gives_its_own_logits(layout, tmp_path):
    theirs = write_qwen2_audio(tmp_path, layout=layout)
    model, vocabulary = loaded(tmp_path)
    waves = noise(4_000, 7_333)
    processor = AutoProcessor.from_pretrained(tmp_path)
    inputs = processor(text=QUESTION, audio=waves, return_tensors="pt", sampling_rate=16_000)
    with torch.no_grad():
        expected = theirs(**inputs).logits[0]
    got = our_logits(model, inputs["input_ids"][0].tolist(), vocabulary.audio_id, waves)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for (name, one), (_, other) in zip(
        model.language_model.named_parameters(),
        [
            *theirs.model.language_model.named_parameters(prefix="model"),
            *theirs.lm_head.named_parameters(prefix="lm_head"),
        ],
        strict=True,
    ):
        assert torch.equal(one, other), name


def test_a_change_of_any_part_changes_the_logits(published):
    """Check that the comparison of logits above detects a changed weight."""
    folder, _ = published
    model, vocabulary = loaded(folder)
    waves = noise(4_000)
    ids = [1, *[vocabulary.audio_id] * 6, 2]
    before = our_logits(model, ids, vocabulary.audio_id, waves)
    for name in ("encoder.layers.1.fc2.bias", "projector.linear.bias", "language_model.lm_head.weight"):
        parameter = model.get_parameter(name)
        with torch.no_grad():
            parameter.add_(torch.randn(parameter.shape) * 0.01)
        after = our_logits(model, ids, vocabulary.audio_id, waves)
        assert not torch.allclose(before, after, atol=1e-5), name
        before = after


@pytest.mark.parametrize("prompt", ["natural", "chatml", "tags"])
def test_an_answer_has_no_tags_before_they_were_learned(published, prompt):
    tokenizer = load_tokenizer(str(published[0]))
    vocabulary = Vocabulary(tokenizer, num_base=NUM_ROWS, tokens=tokens_for([prompt]))
    model = build_model(config_of(published[0]), num_base=NUM_ROWS, num_new=len(vocabulary.new_tokens)).eval()
    assert bool(vocabulary.new_tokens) == (prompt == "tags")
    examples, waves = [], noise(*range(4_000, 8_000, 500))
    for number, (wave, task) in enumerate(zip(waves, ["asr", "aac", "mna", "sgc"] * 2, strict=True)):
        task = find_task(task)
        pieces = render(task, labels_for(task), prompt=prompt, choice=number, with_answer=False)
        encoded = encode(pieces, vocabulary, num_tokens_of_clip=[tokens_in(frames_in(len(wave)))])
        masked = [False] * len(encoded.token_ids)
        examples.append(
            Example("x", task.name, 0, encoded.token_ids, masked, encoded.audio_index, (len(wave),))
        )
    answers = greedy_decode(model, pack_examples(examples, waves), end_ids=set(), max_new_tokens=20)
    assert max(map(max, answers)) < NUM_ROWS


def test_tokens_that_the_model_lacks_are_new_rows(published):
    folder, _ = published
    vocabulary = Vocabulary(load_tokenizer(str(folder)), num_base=NUM_ROWS)
    model = build_model(config_of(folder), num_base=NUM_ROWS, num_new=len(vocabulary.new_tokens))
    assert vocabulary.audio_id < len(vocabulary.tokenizer)
    assert vocabulary.id_of["<|en|>"] >= NUM_ROWS == model.num_base
    assert model.new_tokens.input.shape == (len(vocabulary.new_tokens), 32)


def change_a_shape(weights):
    weights["multi_modal_projector.linear.weight"] = weights["multi_modal_projector.linear.weight"][:3]


def remove_a_weight(weights):
    del weights["audio_tower.layers.1.fc1.bias"]


def add_an_extra_weight(weights):
    weights["language_model.model.layers.0.mlp.router.weight"] = torch.zeros(2)


def add_another_model(weights):
    weights["vision_tower.patch.weight"] = torch.zeros(2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change_a_shape, r"projector: linear.weight has shape \(3, 32\) and not \(32, 32\)"),
        (remove_a_weight, "encoder: layers.1.fc1.bias is missing"),
        (add_an_extra_weight, "language_model: model.layers.0.mlp.router.weight is extra"),
        (add_another_model, "vision_tower.patch.weight is extra"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_reason(published, tmp_path, damage, words):
    folder = tmp_path / "damaged"
    shutil.copytree(published[0], folder)
    weights = load_file(folder / "model.safetensors")
    damage(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=words) as refused:
        build_model(config_of(folder), num_base=NUM_ROWS, num_new=0)
    assert str(folder) in str(refused.value)


def test_all_misfits_are_reported_at_once(published, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(published[0], folder)
    weights = load_file(folder / "model.safetensors")
    for damage in (change_a_shape, remove_a_weight, add_an_extra_weight):
        damage(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is missing; .*has shape .*is extra"):
        build_model(config_of(folder), num_base=NUM_ROWS, num_new=0)


def test_a_recipe_of_another_shape_is_refused(published):
    config = config_of(published[0])
    other = replace(config, encoder=replace(config.encoder, num_mels=80, width=64))
    words = "encoder.num_mels is 80, expected 128; encoder.width is 64, expected 32"
    with pytest.raises(RecipeError, match=words):
        build_model(other, num_base=NUM_ROWS, num_new=0)
    language_model = replace(config.language_model, settings={"hidden_size": 64})
    with pytest.raises(RecipeError, match=r"settings.hidden_size is 64, expected 32"):
        build_model(replace(config, language_model=language_model), num_base=NUM_ROWS, num_new=0)
    with pytest.raises(CheckpointError, match="has 320 rows, expected 50"):
        build_model(config, num_base=50, num_new=0)


def test_a_recipe_of_other_kinds_is_refused(published):
    config = config_of(published[0])
    other = replace(
        config, encoder=replace(config.encoder, kind="transformers"), projector=ProjectorConfig("pooled", 2)
    )
    words = r"encoder.kind is transformers, expected whisper; projector.kind is pooled, expected linear"
    with pytest.raises(RecipeError, match=words):
        build_model(other, num_base=NUM_ROWS, num_new=0)


def test_a_folder_needs_no_sizes_in_the_recipe(published):
    config = config_of(published[0])
    alone, beside = (
        build_model(variant, num_base=NUM_ROWS, num_new=0)
        for variant in (ModelConfig(load=config.load), config)
    )
    assert all(
        torch.equal(one, two) for one, two in zip(alone.parameters(), beside.parameters(), strict=True)
    )
    assert alone.encoder.layers[0].self_attn.num_heads == 2
    with pytest.raises(RecipeError, match=r"encoder.num_heads is 4, expected 2"):
        build_model(replace(config, encoder=EncoderConfig(num_heads=4)), num_base=NUM_ROWS, num_new=0)


@pytest.mark.parametrize(("name", "value"), [("activation_function", "relu"), ("max_source_positions", 750)])
def test_unsupported_settings_of_its_encoder_are_refused(published, tmp_path, name, value):
    shutil.copytree(published[0], tmp_path, dirs_exist_ok=True)
    content = json.loads((tmp_path / "config.json").read_text())
    content["audio_config"][name] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=f"{name} is {value} and not"):
        build_model(ModelConfig(load=str(tmp_path)), num_base=NUM_ROWS, num_new=0)


def test_a_published_model_can_have_low_rank_updates(published):
    pytest.importorskip("peft")
    config = config_of(
        published[0], lora={"language_model": LoraConfig(rank=2, targets=["q_proj", "v_proj"])}
    )
    model = build_model(config, num_base=NUM_ROWS, num_new=0)
    plain = build_model(config_of(published[0]), num_base=NUM_ROWS, num_new=0)
    assert len(updates_of(model.language_model)) == 8
    expected = weights_of(plain.language_model)
    assert list(weights_of(model.language_model)) == list(expected)
    assert all(
        torch.equal(weight, expected[name]) for name, weight in weights_of(model.language_model).items()
    )


def test_a_part_is_not_loaded_twice(published):
    config = config_of(published[0])
    with pytest.raises(RecipeError, match=r"\['model.encoder.load'\] would have no effect"):
        replace(config, encoder=replace(config.encoder, load="somewhere"))


def test_another_kind_of_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is missing; give the folder"):
        open_released(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(CheckpointError, match=r"describes a 'whisper'; model.load takes"):
        open_released(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["[]", "half", '{"model_type": "qwen2_audio", "audio_config": {"d_model": "x"}}']
)
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        CheckpointError, match=r"config\.json (cannot be read|holds a list|is no configuration)"
    ):
        open_released(str(tmp_path))


def test_a_qwen_audio_gives_the_logits_of_the_reference_implementation(tmp_path):
    original = qwen_audio.write(tmp_path)
    released = open_released(str(tmp_path))
    model = build_model(qwen_audio.config_of(tmp_path), num_base=released.num_rows, num_new=0)
    waves = noise(16_000, 9_600)
    ids = [3, original.start_id, *[9] * 25, original.start_id + 1, 7, 8]
    ids += [original.start_id, *[9] * 15, original.start_id + 1, 5]
    expected = original.logits(ids, waves)
    got = our_logits(model, ids, 9, waves)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"no_bias": False}, "no_bias is False and not True"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False and not True"),
        ({"kv_channels": 4}, "kv_channels is 4 and not 8"),
        ({"seq_length": None}, "lacks 'seq_length'"),
        ({"hidden_size": "wide"}, "no configuration of a qwen .*'wide'"),
        ({"vocab_size": "many"}, "no configuration of a qwen .*'many'"),
        ({"audio": 3}, "describes a 'qwen'"),
    ],
)
def test_unsupported_settings_of_a_qwen_audio_are_refused(tmp_path, change, words):
    qwen_audio.write(tmp_path)
    path = tmp_path / "config.json"
    config = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    with pytest.raises(CheckpointError, match=words):
        open_released(str(tmp_path))


def test_a_name_without_an_owner_is_a_folder_that_is_missing():
    with pytest.raises(CheckpointError, match="'bsae' is no folder, and names on the hub are OWNER/NAME"):
        open_released("bsae")
