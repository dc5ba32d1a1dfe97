import base64
import itertools
import json
from dataclasses import replace

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.common.errors import UserError
from audio_lm.data.example import Example
from audio_lm.data.packs import pack_examples
from audio_lm.export.hugging_face import export_model, tokenizer_json
from audio_lm.export.merge import HEAD, WORDS, merge_weights
from audio_lm.model.build import build_model
from audio_lm.model.config import EncoderConfig, LoraConfig, ModelConfig
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.model.weights.files import INDEX, read_weights
from audio_lm.model.weights.parts import updates_of
from audio_lm.model.weights.released import open_released
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import render_chat
from audio_lm.prompts.tokenizer import load_tokenizer, train_tokenizer
from audio_lm.prompts.vocabulary import Vocabulary
from tests.conftest import TINY
from tests.model import qwen_audio
from tests.model.originals import noise, our_logits
from tests.run.command import run

AUDIOS = [{"type": "audio"}, {"type": "audio"}]
TURNS = [{"role": "user", "content": [*AUDIOS, {"type": "text", "text": "Which is it?"}]}]
LOADED = ModelConfig(encoder=EncoderConfig(num_mels=80, width=32, num_layers=2, num_heads=2, mlp_width=64))


@pytest.fixture(scope="module")
def padded_vocabulary():
    """A vocabulary whose table has rows without a token, as in published models."""
    tokenizer = train_tokenizer([" one two three", "Which is it?"] * 4, vocab_size=290)
    return Vocabulary(tokenizer, num_base=len(tokenizer) + 7)


@pytest.fixture(scope="module")
def exported(padded_vocabulary, tmp_path_factory):
    """A model and the folder of its export, in several shards."""
    torch.manual_seed(1)
    model = build_model(
        TINY, num_base=padded_vocabulary.num_base, num_new=len(padded_vocabulary.new_tokens)
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("exported") / "folder"
    export_model(model, padded_vocabulary, folder, max_shard_bytes=100_000)
    return model, folder


@pytest.fixture(scope="module")
def theirs(exported):
    return (
        Qwen2AudioForConditionalGeneration.from_pretrained(exported[1]).eval(),
        AutoProcessor.from_pretrained(exported[1]),
    )


def inputs_of(processor, waves, turns=TURNS):
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return processor(text=text, audio=waves, return_tensors="pt", sampling_rate=16_000)


def test_the_folder_has_all_files_that_transformers_reads(exported):
    names = {path.name for path in exported[1].iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        INDEX,
    }
    assert not [name for name in names if name.endswith((".bin", ".pt", ".part"))]


def test_transformers_gives_the_same_logits(exported, theirs, padded_vocabulary):
    model, _ = exported
    other, processor = theirs
    waves = noise(4_000, 9_111)
    inputs = inputs_of(processor, waves)
    with torch.no_grad():
        expected = other(**inputs).logits[0]
    got = our_logits(model, inputs["input_ids"][0].tolist(), padded_vocabulary.audio_id, waves)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_transformers_gives_the_same_logits_with_merged_updates(padded_vocabulary, tmp_path):
    pytest.importorskip("peft")
    updates = {part: LoraConfig(rank=2) for part in ("encoder", "projector", "language_model")}
    model = build_model(
        replace(TINY, lora=updates),
        num_base=padded_vocabulary.num_base,
        num_new=len(padded_vocabulary.new_tokens),
    )
    waves = noise(4_000)
    ids = [5, *[padded_vocabulary.audio_id] * tokens_in(frames_in(4_000)), 6]
    fresh = our_logits(model, ids, padded_vocabulary.audio_id, waves)
    for part in updates:
        for tensor in updates_of(getattr(model, part)).values():
            torch.nn.init.normal_(tensor, std=0.05)  # a larger std would amplify rounding errors
    export_model(model.eval(), padded_vocabulary, tmp_path / "folder")
    config = replace(LOADED, load=str(tmp_path / "folder"))
    back = build_model(config, num_base=len(padded_vocabulary), num_new=0)
    expected = our_logits(model, ids, padded_vocabulary.audio_id, waves)
    assert (expected - fresh).abs().max() > 1e-2
    torch.testing.assert_close(
        our_logits(back, ids, padded_vocabulary.audio_id, waves), expected, atol=1e-5, rtol=1e-5
    )
    other = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "folder").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "folder")
    waves = noise(4_000, 9_111)
    inputs = inputs_of(processor, waves)
    with torch.no_grad():
        theirs = other(**inputs).logits[0]
    ours = our_logits(model, inputs["input_ids"][0].tolist(), padded_vocabulary.audio_id, waves)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_transformers_generates_the_same_text(exported, theirs, padded_vocabulary):
    model, _ = exported
    other, processor = theirs
    answers = set()
    for seed in range(5):
        waves = noise(3_000 + 999 * seed, 8_000, seed=seed)
        turns = [{"role": "user", "content": [*AUDIOS, {"type": "text", "text": f"Is it {seed}?"}]}]
        inputs = inputs_of(processor, waves, turns)
        ids = inputs["input_ids"][0].tolist()
        with torch.no_grad():
            generated = other.generate(**inputs, max_new_tokens=12)[0]
        example = Example(
            "x",
            "chat",
            0,
            ids,
            [False] * len(ids),
            _audio_positions(ids, padded_vocabulary, waves),
            tuple(map(len, waves)),
        )
        (answer,) = greedy_decode(
            model,
            pack_examples([example], waves),
            end_ids={padded_vocabulary.turn_end_id, padded_vocabulary.end_id},
            max_new_tokens=12,
        )
        text = processor.decode(generated[len(ids) :], skip_special_tokens=True)
        assert text == padded_vocabulary.text(answer), seed
        answers.add(tuple(answer))
    assert len(answers) > 1, "audio and question make no difference"
    assert len(set().union(*answers)) > 10, "always the same few tokens"


def _audio_positions(ids, vocabulary, waves):
    positions = [index for index, token in enumerate(ids) if token == vocabulary.audio_id]
    assert len(positions) == sum(tokens_in(frames_in(len(wave))) for wave in waves)
    return positions


def test_every_token_keeps_its_id(exported, theirs, padded_vocabulary):
    tokenizer = theirs[1].tokenizer
    assert len(tokenizer) == len(padded_vocabulary)
    for token, index in padded_vocabulary.id_of.items():
        assert tokenizer.convert_tokens_to_ids(token) == index, token
        assert tokenizer(token).input_ids == [index], token
    text = "one <|en|>two <|0.10|> three"
    assert tokenizer(text).input_ids == padded_vocabulary.ids(text, is_markup=True)


@pytest.mark.parametrize("writer", ["ours", "theirs"])
def test_export_and_load_is_the_identity(exported, theirs, writer, tmp_path):
    model, folder = exported
    if writer == "theirs":
        folder = tmp_path
        for saved in theirs:  # model and processor
            saved.save_pretrained(folder)
    vocabulary = Vocabulary(load_tokenizer(str(folder)), num_base=open_released(str(folder)).num_rows)
    assert vocabulary.new_tokens == ()
    config = ModelConfig(load=str(folder), encoder=LOADED.encoder, language_model=LOADED.language_model)
    back = build_model(config, num_base=vocabulary.num_base, num_new=0)
    expected, got = merge_weights(model), merge_weights(back)
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
    assert {WORDS, HEAD} < got.keys()
    waves = noise(4_000)
    ids = [5, *[vocabulary.audio_id] * tokens_in(frames_in(4_000)), 6]
    torch.testing.assert_close(
        our_logits(back, ids, vocabulary.audio_id, waves),
        our_logits(model, ids, vocabulary.audio_id, waves),
        atol=1e-5,
        rtol=1e-5,
    )


def test_a_qwen_audio_becomes_a_qwen2_audio(tmp_path):
    """With its tags, its clips between <audio> and </audio>, and rows without a token."""
    source, folder = tmp_path / "qwen_audio", tmp_path / "folder"
    source.mkdir()
    rows = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (source / "qwen.tiktoken").write_text(rows)
    start = 256 + 209 + 3311
    original = qwen_audio.write(source, num_rows=start + 10, start_id=start)
    vocabulary = Vocabulary(load_tokenizer(str(source)), num_base=open_released(str(source)).num_rows)
    assert (vocabulary.id_of["<audio>"], vocabulary.id_of["</audio>"]) == (start, start + 1)
    num_new = len(vocabulary.new_tokens)
    model = build_model(qwen_audio.config_of(source), num_base=vocabulary.num_base, num_new=num_new)
    export_model(model, vocabulary, folder)
    processor = AutoProcessor.from_pretrained(folder)
    text = (
        "<audio><|AUDIO|></audio><|startoftranscript|><|en|><|transcribe|><|en|><|notimestamps|><|wo_itn|>One"
    )
    waves = noise(9_600)
    inputs = processor(text=text, audio=waves, return_tensors="pt", sampling_rate=16_000)
    ids = inputs["input_ids"][0].tolist()
    assert ids == vocabulary.ids(text.replace("<|AUDIO|>", "<|AUDIO|>" * 15), is_markup=True)
    with torch.no_grad():
        got = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()(**inputs).logits[0]
    expected = original.logits([0 if token == vocabulary.audio_id else token for token in ids], waves)
    torch.testing.assert_close(got[:, : vocabulary.num_base], expected, atol=1e-5, rtol=1e-5)


@st.composite
def conversations(draw):
    """Conversations of texts and clips in any order; the last turn is the user's."""
    numbers, rows = itertools.count(1), []
    words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: "<" not in text)
    for role in ["user", *["assistant", "user"] * draw(st.integers(0, 2))]:
        parts = draw(st.lists(st.none() | words, max_size=4)) if role == "user" else [draw(words).strip()]
        content = [{"audio": next(numbers)} if part is None else {"text": part} for part in parts]
        rows.append({"role": role, "content": content})
    return [{"role": "system", "content": [{"text": draw(words)}]}, *rows] if draw(st.booleans()) else rows


@given(conversation=conversations())
@hypothesis.example(
    conversation=[
        {"role": "user", "content": [{"text": "A: "}, {"audio": 1}, {"text": "\n\nB:"}, {"audio": 2}]}
    ]
)
def test_clips_between_texts_give_the_same_tokens(theirs, padded_vocabulary, conversation):
    """The released template, the exported template and the training prompt give the same tokens."""
    processor = theirs[1]
    messages = [
        {
            **turn,
            "content": [{"type": "audio" if "audio" in part else "text", **part} for part in turn["content"]],
        }
        for turn in conversation
    ]
    num_clips = sum("audio" in part for turn in conversation for part in turn["content"])
    ours = encode(
        render_chat(conversation, with_answer=False), padded_vocabulary, num_tokens_of_clip=[1] * num_clips
    )
    for template in (None, type(processor).default_chat_template.fget(None)):
        text = processor.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        assert processor.tokenizer(text).input_ids == ours.token_ids


def test_weights_can_be_exported_in_bfloat16(exported, padded_vocabulary, tmp_path):
    export_model(exported[0], padded_vocabulary, tmp_path / "half", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in read_weights(tmp_path / "half").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == "bfloat16"


def test_existing_files_are_not_overwritten(exported, padded_vocabulary, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        export_model(exported[0], padded_vocabulary, tmp_path)
    with pytest.raises(UserError, match="not empty"):
        export_model(exported[0], padded_vocabulary, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_tokenizer_without_tokenizer_json_is_refused(padded_vocabulary):
    class Slow:
        added_tokens_encoder = ()
        pad_token_id = 0

        def get_vocab(self):
            return padded_vocabulary.tokenizer.get_vocab()

        def __len__(self):
            return len(padded_vocabulary.tokenizer)

    with pytest.raises(UserError, match="Slow cannot be written"):
        tokenizer_json(Vocabulary(Slow(), num_base=padded_vocabulary.num_base))


def test_a_folder_without_a_run_is_an_error(tmp_path, capsys):
    assert run("export", tmp_path, tmp_path / "folder") == 2
    assert "holds no run" in capsys.readouterr().err
