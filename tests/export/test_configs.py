import pytest
import torch
from jinja2 import Environment
from transformers import AutoConfig, Qwen2Config

from audio_lm.export.configs import chat_template, model_config
from audio_lm.prompts.chatml import render_turns, turns_of
from audio_lm.prompts.conversation import join_text
from tests.model.originals import SETTINGS

CLIP, OTHER_CLIP = {"audio": 1}, {"audio": 2}
CONVERSATIONS = [
    [{"role": "user", "content": [{"text": "Hello"}]}],
    [{"role": "user", "content": [{"text": "What is it?"}, CLIP]}],
    [
        {"role": "system", "content": [{"text": "Be short."}]},
        {"role": "user", "content": [CLIP, OTHER_CLIP, {"text": "Which?"}]},
        {"role": "assistant", "content": [{"text": "The first."}]},
        {"role": "user", "content": [{"text": "Why?\n"}]},
    ],
    [
        {"role": "user", "content": [{"text": "A: "}, CLIP, {"text": "B: "}, {"text": "x "}, OTHER_CLIP]},
        {"role": "assistant", "content": [{"text": "B"}]},
        {"role": "user", "content": [{"text": "And "}, {"audio": 3}, {"text": "?"}]},
    ],
]


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_template_renders_the_text_of_training(conversation):
    as_openai = [
        {
            "role": turn["role"],
            "content": [{"type": "audio" if "audio" in part else "text", **part} for part in turn["content"]],
        }
        for turn in conversation
    ]
    text = Environment().from_string(chat_template()).render(messages=as_openai, add_generation_prompt=True)
    answered = [*conversation, {"role": "assistant", "content": [{"text": "x"}]}]
    assert text == join_text(render_turns(turns_of(answered), with_answer=False))


def test_the_content_of_a_turn_may_be_a_string():
    template = Environment().from_string(chat_template())
    turns = [{"role": "user", "content": "Hello"}]
    same = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    assert template.render(messages=turns) == template.render(messages=same)


@pytest.mark.parametrize(
    ("rope", "theta", "scaling"),
    [
        ({"rope_type": "default", "rope_theta": 1e6}, 1e6, None),
        (
            {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
            5e5,
            {"rope_type": "linear", "factor": 2.0},
        ),
    ],
)
def test_positions_are_written_under_both_names(make_model, vocabulary, rope, theta, scaling):
    model = make_model()
    model.language_model.config = Qwen2Config(**SETTINGS, rope_parameters=rope)
    text = model_config(model, vocabulary, torch.bfloat16)["text_config"]
    assert (text["rope_theta"], text["rope_scaling"]) == (theta, scaling)
    assert text["rope_parameters"]["rope_theta"] == theta
    read = AutoConfig.for_model(**text)
    assert read.rope_parameters == {**rope}


def test_positions_that_differ_by_layer_are_written_like_those_of_gemma(make_model, vocabulary):
    model = make_model()
    model.language_model.config = AutoConfig.for_model("gemma3_text", **SETTINGS, head_dim=8)
    text = model_config(model, vocabulary, torch.float32)["text_config"]
    assert (text["rope_theta"], text["rope_local_base_freq"]) == (1e6, 1e4)


def test_the_config_counts_all_tokens(make_model, vocabulary):
    config = model_config(make_model(), vocabulary, torch.bfloat16)
    assert config["text_config"]["vocab_size"] == len(vocabulary)
    assert config["audio_token_index"] == vocabulary.audio_id
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    assert config["audio_config"]["num_mel_bins"] == 80


@pytest.mark.parametrize(
    ("prompt", "start", "end"),
    [("natural", "<|audio_bos|>", "<|audio_eos|>"), ("tags", "<audio>", "</audio>")],
)
def test_a_question_is_rendered_after_its_clips(prompt, start, end):
    content = [{"type": "text", "text": "Which?"}, {"type": "audio"}, {"type": "audio"}]
    text = (
        Environment()
        .from_string(chat_template(prompt))
        .render(messages=[{"role": "user", "content": content}])
    )
    clip = f"{start}<|AUDIO|>{end}"
    assert text == f"{clip}{clip}Which?"
