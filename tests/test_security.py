"""Security: no foreign file is executed, no secret is written, no port is open to other machines.

Three sections: malicious files (those that imitate checkpoints are in ``tests/run`` and ``tests/model``), listening
addresses, and calls that no module of ``audio_lm`` may contain.
"""

import ast
import gzip
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import torch
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.serialization import deserialize_item

from audio_lm.common.errors import CheckpointError, DataError, RecipeError
from audio_lm.config.load import load_recipe
from audio_lm.config.overrides import parse_settings
from audio_lm.corpora.published.download import unpack
from audio_lm.data.manifest.cuts import load_waves
from audio_lm.data.manifest.index import IndexRules, compile_source
from audio_lm.data.manifest.json_lines import InvalidLineError
from audio_lm.data.manifest.lazy_cuts import Rows
from audio_lm.data.manifest.lhotse_cut import read_cut
from audio_lm.data.manifest.line import read_line
from audio_lm.model.config import ModelConfig
from audio_lm.model.decoder.language_model import load_language_model
from audio_lm.model.decoder.settings import num_rows
from audio_lm.model.weights.files import read_weights
from audio_lm.pipeline.corpora import usable_source
from audio_lm.prompts.tokenizer import load_tokenizer
from audio_lm.run.process_groups import ProcessGroups
from tests.forked import on_ranks

ROOT = Path(__file__).parents[1]
CODE = [*sorted((ROOT / "audio_lm").rglob("*.py")), ROOT / "train.py"]


@pytest.fixture
def marker(tmp_path):
    """Path of a file that only an attack creates."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code of the attack ran"


class Attack:
    """An object that runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def cut_of(kind, source):
    recording = Recording("r", [AudioSource(kind, [0], source)], 16_000, 16_000, 1.0)
    supervision = SupervisionSegment("s", "r", 0.0, 1.0, text="one")
    return MonoCut("c", 0.0, 1.0, 0, recording=recording, supervisions=[supervision])


@pytest.mark.parametrize(
    ("kind", "source", "why"),
    [
        ("command", "touch {marker}; cat {marker}", "could run a command"),
        ("file", "touch {marker} |", "could run a command"),
        ("file", "pipe:touch {marker}", "could run a command"),
        ("url", "http://127.0.0.1:9/a.wav", "could run a command"),
        ("file", "http://127.0.0.1:9/a.wav", "download it"),
    ],
)
def test_audio_that_is_no_file_is_refused_by_every_reader_of_cuts(
    kind, source, why, small, marker, tmp_path, monkeypatch
):
    cut = cut_of(kind, source.format(marker=marker))
    line = json.dumps(cut.to_dict()).encode()
    with pytest.raises(InvalidLineError, match=why):
        read_line(line)
    with pytest.raises(DataError, match=f"cut 'c'.*{why}"):
        load_waves(cut)
    folder = Path(small.data_dir) / "evil"
    folder.mkdir(exist_ok=True)
    (folder / "all-test.jsonl").write_bytes(line + b"\n")
    with pytest.raises(DataError, match=f"cut 'c'.*{why}"):
        usable_source(small, "evil/all-test", "error")


def test_lhotse_itself_would_run_such_a_cut(tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(Exception, match=r".*"):
        cut_of("command", f"touch {marker}").load_audio()
    assert marker.exists(), "the control"


def reverberant(marker):
    """A recording with an impulse response whose audio is a command."""
    sound = Path(marker).with_name("sound.wav")
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    rir = cut_of("command", f"touch {marker}; cat {sound}").recording
    return Recording.from_file(sound).reverb_rir(rir)


def in_the_recording(marker):
    cut = cut_of("file", "-")
    cut.recording = reverberant(marker)
    return cut.to_dict()


def in_a_further_clip(marker):
    cut = in_the_recording(marker)
    harmless = {key: value for key, value in cut["recording"].items() if key != "transforms"}
    return cut | {"recording": harmless, "custom": {"audio_2": cut["recording"]}}


def in_a_rejected_clip(marker):
    cut = in_a_further_clip(marker)
    return cut | {"custom": {"rejected_audio_1": cut["custom"]["audio_2"]}}


def within_another_transform(marker):
    cut = in_the_recording(marker)
    transform = {"name": "Speed", "kwargs": {"factor": 1.0, "rir": cut["recording"]["transforms"][0]}}
    return cut | {"recording": cut["recording"] | {"transforms": [transform]}}


def in_a_track(marker):
    track = {"cut": in_the_recording(marker), "offset": 0.0}
    return {"id": "c", "type": "MixedCut", "tracks": [track]}


TRANSFORMED = [
    in_the_recording,
    in_a_further_clip,
    in_a_rejected_clip,
    within_another_transform,
    in_a_track,
]


@pytest.mark.parametrize("attack", TRANSFORMED)
def test_no_reader_runs_a_command_of_a_transform(attack, small, marker, tmp_path):
    line = json.dumps(attack(marker)).encode() + b"\n"
    why = "a transform|a cut of type 'MixedCut'"
    for read in (read_line, read_cut):
        with pytest.raises(InvalidLineError, match=why):
            read(line)
    folder = Path(small.data_dir) / "evil"
    folder.mkdir(exist_ok=True)
    for name, content in (("rir-test.jsonl", line), ("packed-test.jsonl.gz", gzip.compress(line))):
        (folder / name).write_bytes(content)
        source = f"evil/{name.partition('.')[0]}"
        with pytest.raises(DataError, match=rf"{name}:1: cut 'c': ({why})"):
            usable_source(small, source, "error")
        with pytest.raises(DataError, match=rf"{name}:1: cut 'c': ({why})"):
            compile_source(folder / name, source, IndexRules(), cache=tmp_path / "cache")


def test_a_transform_added_after_compiling_does_not_run(marker, tmp_path):
    attack = json.dumps(in_the_recording(marker))
    table = json.loads(attack)
    del table["recording"]["transforms"]
    manifest = tmp_path / "all-train.jsonl"
    manifest.write_text(json.dumps(table).ljust(len(attack)) + "\n")
    rows = Rows(compile_source(manifest, "mine/all-train", IndexRules(), cache=tmp_path / "cache"))
    assert len(load_waves(rows.cut(0))[0]) == 16_000
    manifest.write_text(attack + "\n")
    for reader in (rows, pickle.loads(pickle.dumps(rows))):
        with pytest.raises(DataError, match=r"can no longer be read.*'ReverbWithImpulseResponse'"):
            reader.cut(0)
    with pytest.raises(DataError, match=r"cut 'c'.*'ReverbWithImpulseResponse'"):
        load_waves(MonoCut("c", 0.0, 1.0, 0, recording=reverberant(marker)))


def test_a_transform_in_a_tar_does_not_run(small, marker, tmp_path):
    attack = in_the_recording(marker)
    folder = Path(small.data_dir) / "evil" / "shar-test"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "recording.000000.tar", "w") as tar:
        content = marker.with_name("sound.wav").read_bytes()
        tar.addfile(a_member("c.wav", len(content)), io.BytesIO(content))
        placeholder = attack["recording"] | {"sources": [{"type": "shar", "channels": [0], "source": ""}]}
        content = json.dumps(placeholder).encode()
        tar.addfile(a_member("c.json", len(content)), io.BytesIO(content))
    line = json.dumps({key: value for key, value in attack.items() if key != "recording"}).encode()
    (folder / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(line + b"\n"))
    with pytest.raises(DataError, match="cut 'c': a transform"):
        usable_source(small, "evil/shar-test", "error")
    with pytest.raises(DataError, match="cut 'c': a transform"):
        compile_source(folder, "evil/shar-test", IndexRules(), cache=tmp_path / "cache")


def test_lhotse_itself_would_run_such_a_transform(tmp_path):
    marker = tmp_path / "ran"
    deserialize_item(in_the_recording(marker)).load_audio()
    assert marker.exists(), "the control"


def test_audio_outside_the_allowed_folders_is_refused_in_benchmarks_too(small, tmp_path):
    from dataclasses import replace

    folder = Path(small.data_dir) / "evil"
    folder.mkdir(exist_ok=True)
    cut = cut_of("file", str(folder / ".." / ".." / "passwd.wav"))
    (folder / "away-test.jsonl").write_text(json.dumps(cut.to_dict()) + "\n")
    with pytest.raises(DataError, match="lies outside"):
        usable_source(replace(small, audio_roots=[small.data_dir]), "evil/away-test", "error")


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


# Concatenated, so that no secret scanner reports it.
HUB_TOKEN = "hf_" + 34 * "x"
SECRETS = ("hunter2", "s3cr3t", HUB_TOKEN)


@pytest.mark.slow
def test_no_secret_of_a_recipe_reaches_a_file_the_console_or_mlflow(small_recipe, small, tmp_path):
    """The whole command, with secrets in the tracking URI, in a setting and in the environment."""
    environment = {
        **os.environ, "HF_TOKEN": HUB_TOKEN, "MLFLOW_TRACKING_PASSWORD": "hunter2", "AUDIO_LM_NOTE": HUB_TOKEN,
        "MLFLOW_TRACKING_URI": "http://me:hunter2@127.0.0.1:9", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [
        sys.executable, str(ROOT / "train.py"), str(small_recipe), f"--out={tmp_path / 'run'}", "only=[pretrain]",
        "stages.pretrain.steps=1", "evaluation.baselines=[]", "~evaluation.benchmarks.events", "~published",
        "tracking.uri=http://me:s3cr3t@127.0.0.1:9", f"tracking.experiment=a {HUB_TOKEN}",
    ]  # fmt: skip
    trained = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert trained.returncode == 0, trained.stderr
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"
    sync = [
        sys.executable,
        "-c",
        "from audio_lm.cli.main import main; main()",
        "track",
        "sync",
        str(tmp_path / "run"),
    ]
    sent = subprocess.run(
        sync, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert sent.returncode == 0, sent.stderr
    output = trained.stdout + trained.stderr + sent.stdout + sent.stderr
    assert "it has everything" in output
    leaks = [
        (path, secret)
        for path in [
            *(tmp_path / "run").rglob("*"),
            *tmp_path.glob("mlflow.db"),
            *(tmp_path / "mlartifacts").rglob("*"),
        ]
        for secret in SECRETS
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert not leaks
    assert not [secret for secret in SECRETS if secret in output]
    logged = [path.read_text() for path in (tmp_path / "mlartifacts").rglob("recipe.yaml")]
    assert any("uri: http://127.0.0.1:9" in text for text in logged), "the control: the setting was logged"


def listening_addresses(process_id):
    """Addresses of listening sockets of a process and its children."""
    found = set()
    try:
        main = psutil.Process(process_id)
        family = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in family:
        try:
            sockets = process.net_connections(kind="inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        found |= {connection.laddr.ip for connection in sockets if connection.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("num_ranks", "addresses"), [(1, set()), (2, {"127.0.0.1"})])
def test_a_run_listens_on_no_address_but_loopback(num_ranks, addresses, small_recipe, small, tmp_path):
    command = [
        sys.executable, str(ROOT / "train.py"), str(small_recipe), f"--out={tmp_path / 'run'}", "only=[pretrain]",
        "evaluation.baselines=[]", "hardware.num_workers=1", f"hardware.devices={num_ranks}",
        "stages.pretrain.packs_per_step=2", "stages.chat.packs_per_step=2",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (tmp_path / "output").open("w") as output:
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        found, num_polls = set(), 0
        while run.poll() is None:
            found |= listening_addresses(run.pid)
            num_polls += 1
            time.sleep(0.05)
    assert run.returncode == 0, (tmp_path / "output").read_text()
    assert num_polls > 20
    assert found == addresses


@pytest.mark.parametrize("address", ["127.0.0.1", socket.gethostname()])
@pytest.mark.parametrize("ranks_per_node", ["2", "1"])
def test_ranks_of_one_machine_rendezvous_on_loopback(address, ranks_per_node):
    """With torchrun of one node under any master address, and of several nodes on one machine."""
    if ranks_per_node == "1" and address != "127.0.0.1":
        pytest.skip("the address may be of another machine")

    def addresses_of_rank(number):
        os.environ.pop("GLOO_SOCKET_IFNAME", None)
        os.environ |= {"MASTER_ADDR": address, "LOCAL_WORLD_SIZE": ranks_per_node}
        with ProcessGroups("cpu") as ranks:
            ranks.wait()
            found = listening_addresses(os.getpid())
            ranks.wait()
        return found

    assert on_ranks(2, addresses_of_rank) == [{"127.0.0.1"}, {"127.0.0.1"}]


def test_a_listening_socket_is_found(tmp_path):
    with socket.create_server(("0.0.0.0", 0)):
        assert "0.0.0.0" in listening_addresses(os.getpid()), "the control"


UNSAFE_KEYWORDS = {"weights_only": False, "trust_remote_code": True, "shell": True, "allow_pickle": True}
UNSAFE_CALLS = {
    "eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", *(f"{name}.{verb}" for name in ("pickle", "dill", "marshal", "cloudpickle", "joblib")
    for verb in ("load", "loads", "Unpickler")),
}  # fmt: skip
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}


def dotted(node):
    """``a.b.c`` of a chain of attributes, from the last call or index on."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id] if isinstance(node, ast.Name) else parts))


def origins(tree):
    """Local name -> dotted name of what it was imported from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname, alias.name) for alias in node.names if alias.asname)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def unsafe_calls(source):
    """Calls that execute what they read, pass text to a shell, or unpack archives without a filter."""
    tree = ast.parse(source)
    origin_of = dict(origins(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        first, _, rest = name.partition(".")
        name = origin_of.get(first, first) + (f".{rest}" if rest else "")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        constants = {key: value.value for key, value in keywords.items() if isinstance(value, ast.Constant)}
        where = f"line {node.lineno}: {name}"
        if name in UNSAFE_CALLS:
            yield where
        yield from (f"{where} {key}" for key, value in UNSAFE_KEYWORDS.items() if constants.get(key) is value)
        if name == "torch.load" and constants.get("weights_only") is not True:
            yield f"{where} without weights_only"
        if (
            name in ("yaml.load", "yaml.compose")
            and dotted(keywords.get("Loader")).rpartition(".")[2] not in SAFE_LOADERS
        ):
            yield f"{where} without SafeLoader"
        unpacks = name.rpartition(".")[2] in ("extractall", "extract", "unpack_archive")
        if unpacks and constants.get("filter") != "data" and constants.get("format") != "zip":
            yield f"{where} without filter"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_executes_what_it_reads(path):
    assert not list(unsafe_calls(path.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "import torch as t\nt.load(path)",
        "trainer.fit(module, weights_only=False)",
        "pickle.load(file)",
        "from pickle import loads\nloads(data)",
        "import pickle as p\np.Unpickler(file).load()",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "from yaml import load, FullLoader\nload(text, Loader=FullLoader)",
        "yaml.unsafe_load(text)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "from os import system\nsystem(text)",
        "tar.extractall(folder)",
        "tar.extractall(folder, filter='fully_trusted')",
        "shutil.unpack_archive(path, folder)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_an_unsafe_call_is_found(source):
    assert list(unsafe_calls(source)), "the control"


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "model.eval()",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "tar.extractall(folder, filter='data')",
        "json.load(file)",
        "class Restricted(pickle.Unpickler):\n    pass",
    ],
)
def test_a_safe_call_is_accepted(source):
    assert not list(unsafe_calls(source))
