"""Security of recipes, archives and models of others: none of their code runs, and they write nowhere but their folder.

Files that imitate checkpoints are in ``tests/run`` and ``tests/model``.
"""

import io
import json
import os
import pickle
import tarfile
import zipfile

import pytest
import torch

from audio_lm.common.errors import CheckpointError, DataError, RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.config.overrides import parse_settings
from audio_lm.corpora.published.download import unpack
from audio_lm.model.config import ModelConfig
from audio_lm.model.decoder.language_model import load_language_model
from audio_lm.model.decoder.settings import num_rows
from audio_lm.model.weights.files import read_weights
from audio_lm.prompts.tokenizer import load_tokenizer


class Attack:
    """An object that runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_yaml_with_python_objects_is_refused(tmp_path, marker):
    attack = f"!!python/object/apply:os.system ['touch {marker}']"
    (tmp_path / "evil.yaml").write_text(f"seed: {attack}\n")
    with pytest.raises(RecipeError, match="has the type python"):
        load_recipe(tmp_path / "evil.yaml")
    with pytest.raises(RecipeError, match="has the type python"):
        load_recipe("demo", [f"seed={attack}"])
    with pytest.raises(RecipeError, match="has the type python"):
        parse_settings([f"seed={attack}"])


def test_a_recipe_cannot_read_secrets_of_the_environment(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "abc")
    monkeypatch.setenv("MY_FOLDER", "/data")
    harmless = load_recipe(small_recipe, ["data_dir=${oc.env:MY_FOLDER}"])
    assert harmless.recipe.data_dir == "/data"
    with pytest.raises(RecipeError, match="HF_TOKEN may be a secret"):
        load_recipe(small_recipe, ["data_dir=${oc.env:HF_TOKEN}"])


def write_tar(path, member, content=b"x"):
    with tarfile.open(path, "w") as tar:
        tar.addfile(member, io.BytesIO(content))


def a_member(name, size=1, **changed):
    member = tarfile.TarInfo(name)
    member.size = size
    for key, value in changed.items():
        setattr(member, key, value)
    return member


LINK = {"type": tarfile.SYMTYPE, "size": 0}


@pytest.mark.parametrize(
    "member",
    [
        a_member("../marker"),
        a_member("inside/../../marker"),
        a_member("link", **LINK, linkname="/etc/passwd"),
        a_member("link", **LINK, linkname="../marker"),
        a_member("device", size=0, type=tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_members_of_a_tar_cannot_leave_its_folder(member, tmp_path, marker):
    write_tar(tmp_path / "a.tar", member)
    with pytest.raises(DataError, match="not a complete archive"):
        unpack(tmp_path / "a.tar", tmp_path / "here", print)
    assert not (tmp_path / "here").exists()


def test_an_absolute_member_of_a_tar_lands_inside(tmp_path, marker):
    write_tar(tmp_path / "a.tar", a_member(str(marker)))
    unpack(tmp_path / "a.tar", tmp_path / "here", print)
    assert [path.name for path in (tmp_path / "here").rglob("*") if path.is_file()] == ["marker"]


def test_members_of_a_zip_cannot_leave_its_folder(tmp_path, marker):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("../marker", str(marker), "good"):
            file.writestr(name, "x")
    unpack(tmp_path / "a.zip", tmp_path / "here", print)
    assert [path.name for path in (tmp_path / "here").rglob("*") if path.is_file()] == ["good"]


def test_pickled_weights_are_refused_unread(tmp_path, marker):
    (tmp_path / "weights").mkdir()
    torch.save(Attack(marker), tmp_path / "weights" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled"):
        read_weights(tmp_path / "weights")
    (tmp_path / "weights" / "model.safetensors").write_bytes(pickle.dumps(Attack(marker)))
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "weights")


def test_the_pickles_would_run_if_they_were_read(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "ran")))
    assert (tmp_path / "ran").exists(), "the control"


@pytest.fixture
def model_with_code(tmp_path, monkeypatch):
    """A published model with remote code, which creates a file when it runs."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "published"
    folder.mkdir()
    names = {"AutoConfig": "code.Config", "AutoTokenizer": ["code.Tokenizer", None]}
    (folder / "config.json").write_text(json.dumps({"model_type": "strange_one", "auto_map": names}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Tokenizer", "auto_map": names})
    )
    (folder / "code.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import PretrainedConfig, PreTrainedTokenizer\n"
        "class Config(PretrainedConfig):\n    model_type = 'strange_one'\n    vocab_size = 7\n"
        "class Tokenizer(PreTrainedTokenizer):\n    vocab_size = 0\n    def get_vocab(self): return {}\n"
    )
    return str(folder)


@pytest.mark.parametrize("load", [load_language_model, num_rows, load_tokenizer])
def test_remote_code_of_a_model_does_not_run(load, model_with_code, tmp_path):
    with pytest.raises(
        (CheckpointError, RecipeError), match=r"its own Python code.*model\.trust_remote_code=true"
    ):
        load(model_with_code)
    assert not (tmp_path / "ran").exists()


def test_remote_code_of_a_model_runs_where_the_recipe_allows_it(model_with_code, tmp_path):
    assert num_rows(model_with_code, trust_remote_code=True) == 7
    assert (tmp_path / "ran").exists()


def test_trust_remote_code_without_a_model_to_load_is_refused():
    with pytest.raises(RecipeError, match="would have no effect"):
        ModelConfig(trust_remote_code=True)
