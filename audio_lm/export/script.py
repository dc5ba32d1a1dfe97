"""The script ``run.py`` of an exported folder: it answers one question about a clip, without this project."""

import json
from collections.abc import Mapping, Sequence
from string import Formatter

from audio_lm.common.audio_units import MAX_SAMPLES
from audio_lm.export.trained import TrainedTask
from audio_lm.prompts.tags import AUDIO_END, AUDIO_START

NAME = "run.py"
PACKAGES = ("torch", "transformers", "soundfile", "scipy", "jinja2")
EXAMPLES = {
    "language": "en",
    "target_language": "en",
    "target_language_name": "English",
    "question": "What do you hear?",
    "text": "What do you hear?",
}
"""Field of a prompt -> value if the data do not give one."""

SCRIPT = '''\
"""Answer one question about one or two clips: python run.py TASK CLIP [FIELD=VALUE]; for example: {example}"""

import sys
from pathlib import Path

import scipy.signal
import soundfile
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

PROMPTS = {prompts}
FIELDS = {fields}

task, *arguments = sys.argv[1:] or [""]
if task not in PROMPTS:
    sys.exit(f"python run.py TASK CLIP [FIELD=VALUE]; tasks: {{', '.join(PROMPTS)}}; fields: {{', '.join(FIELDS) or 'none'}}")
clips = [argument for argument in arguments if "=" not in argument or Path(argument).is_file()]
given = dict(argument.split("=", 1) for argument in arguments if argument not in clips)
if wrong := [*(given.keys() - FIELDS.keys()), *(clip for clip in clips if not Path(clip).is_file())]:
    sys.exit(f"{{wrong[0]}} is neither a file nor a field; fields: {{', '.join(FIELDS) or 'none'}}")
text = PROMPTS[task].format(**FIELDS | given)
if text.count("<|AUDIO|>") != len(clips):
    sys.exit(f"{{task}} needs {{text.count('<|AUDIO|>')}} clip(s), not {{len(clips)}}: WAV, FLAC, MP3 or Ogg")
read = [soundfile.read(clip, dtype="float32", always_2d=True) for clip in clips]
waves = [scipy.signal.resample_poly(wave.mean(axis=1), 16_000, rate) for wave, rate in read]
if any(len(wave) > {max_samples} for wave in waves):
    sys.exit("a clip is longer than 30 s, which the model does not read; cut it")

folder = Path(__file__).parent
processor = AutoProcessor.from_pretrained(folder)
model = Qwen2AudioForConditionalGeneration.from_pretrained(folder).eval()
{borders}inputs = processor(text=text, audio=waves, sampling_rate=16_000, return_tensors="pt").to(model.device, model.dtype)
answer = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
print(processor.decode(answer, skip_special_tokens=True).strip())
'''
BORDERS = """\
if text.startswith({start}):  # the processor of transformers 4 adds its own tokens around a clip unless it knows these
    processor.audio_bos_token, processor.audio_eos_token = {start}, {end}
"""


def run_script(tasks: Sequence[TrainedTask], *, languages: Sequence[str] = ()) -> str:
    """Content of ``run.py``.

    Args:
        tasks: the first one with a name gives its prompt.
        languages: of the data; the first is the default value.
    """
    prompts: dict[str, str] = {}
    for task in tasks:
        prompts.setdefault(task.name, task.held_out)
    has_tags = any(task.prompt == "tags" for task in tasks)
    return SCRIPT.format(
        example=example_command(tasks),
        prompts=_table(prompts),
        max_samples=MAX_SAMPLES,
        fields=_table(fields_of(prompts, languages)),
        borders=BORDERS.format(start=json.dumps(AUDIO_START), end=json.dumps(AUDIO_END)) if has_tags else "",
    )


def example_command(tasks: Sequence[TrainedTask]) -> str:
    """Command that answers the first task."""
    clips = ["clip.wav", "other.wav"][: tasks[0].num_clips]
    return f"python {NAME} {tasks[0].name} {' '.join(clips)}"


def fields_of(prompts: Mapping[str, str], languages: Sequence[str]) -> dict[str, str]:
    """Default value of every field of the prompts."""
    names = [name for text in prompts.values() for _, name, _, _ in Formatter().parse(text) if name]
    known = EXAMPLES | ({"language": languages[0]} if languages else {})
    return {name: known.get(name, "") for name in dict.fromkeys(names)}


def _table(values: Mapping[str, str]) -> str:
    """Python source of a table, a line per entry."""
    rows = "".join(f"    {key!r}: {value!r},\n" for key, value in values.items())
    return f"{{\n{rows}}}" if rows else "{}"
