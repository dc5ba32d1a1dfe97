"""Export a run and record the answers of our model: ``write_reference.py RUN DIR``.

Conversations with one clip are the first of a chat benchmark's cut-set; those with two clips combine
two such questions. Writes DIR/model, DIR/clips/*.wav and DIR/reference.json.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

from audio_lm.common.audio_units import frames_in, tokens_in
from audio_lm.data.example import Example
from audio_lm.data.manifest.cuts import read_cuts
from audio_lm.data.manifest.labels import labels_of
from audio_lm.data.packs import pack_examples
from audio_lm.export.hugging_face import export_model
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.decoder.generate import greedy_decode
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.model import build_audio_lm
from audio_lm.prompts.encode import encode
from audio_lm.prompts.render import render_chat
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.open import kept_vocabulary, open_run

NUM_QUESTIONS = 8
MAX_NEW_TOKENS = 24


def main(run: Path, folder: Path) -> None:
    recipe, run_folder = open_run(run)
    vocabulary = kept_vocabulary(recipe, run_folder)
    model = build_audio_lm(recipe, vocabulary)
    load_weights(model, run_folder.model([*recipe.stages][-1]))
    model.eval()
    export_model(model, vocabulary, folder / "model")
    (source,) = {
        benchmark.source for benchmark in recipe.evaluation.benchmarks.values() if benchmark.task == "chat"
    }
    cuts = [cut for cut in read_cuts(Path(recipe.data_dir), source) if _is_one_question(_turns(cut))]
    cuts = cuts[:NUM_QUESTIONS]
    talks = [([cut], _turns(cut)) for cut in cuts]
    talks += [([first, second], _turns(first) + _turns(second)) for first, second in itertools.pairwise(cuts)]
    (folder / "clips").mkdir()
    records = [_record(model, vocabulary, talk, folder, number) for number, talk in enumerate(talks)]
    (folder / "reference.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    print(f"{len(records)} conversations, {len({record['answer'] for record in records})} different answers")


def _is_one_question(turns) -> bool:
    return len(turns) == 2 and sum("audio" in part for part in turns[0]["content"]) == 1


def _turns(cut):
    return labels_of(cut)["conversation"]


def _record(model: AudioLM, vocabulary: Vocabulary, talk, folder: Path, number: int) -> dict:
    cuts, turns = talk
    waves, names = [], []
    for place, cut in enumerate(cuts):
        name = f"clips/{number}-{place}.wav"
        soundfile.write(folder / name, cut.load_audio()[0], 16_000, subtype="PCM_16")
        waves.append(soundfile.read(folder / name, dtype="float32")[0])
        names.append(name)
    numbered = _numbered(turns)
    tokens = [tokens_in(frames_in(len(wave))) for wave in waves]
    encoded = encode(render_chat(numbered, with_answer=False), vocabulary, num_tokens_of_clip=tokens)
    example = _example(encoded.token_ids, encoded.audio_index, waves)
    ends = {vocabulary.turn_end_id, vocabulary.end_id}
    (answer,) = greedy_decode(
        model, pack_examples([example], waves), end_ids=ends, max_new_tokens=MAX_NEW_TOKENS
    )
    whole = _example([*encoded.token_ids, *answer, 0], encoded.audio_index, waves, num_open=len(answer) + 1)
    with torch.no_grad():
        logits = model(pack_examples([whole], waves))
    np.save(folder / f"logits-{number}.npy", logits.numpy())
    return {
        "messages": _messages(numbered[:-1], names),
        "clips": names,
        "prompt_ids": encoded.token_ids,
        "answer_ids": answer,
        "answer": vocabulary.text(answer),
        "logits": f"logits-{number}.npy",
    }


def _example(ids, audio_index, waves, *, num_open: int = 0) -> Example:
    is_learned = [False] * (len(ids) - num_open) + [True] * num_open
    return Example("x", "chat", 0, ids, is_learned, audio_index, tuple(map(len, waves)))


def _numbered(turns):
    """Number the clips through all turns."""
    counted, number = [], 0
    for turn in turns:
        parts = []
        for part in turn["content"]:
            number += "audio" in part
            parts.append({"audio": number} if "audio" in part else part)
        counted.append({"role": turn["role"], "content": parts})
    return counted


def _messages(turns, names):
    """Convert turns to the messages of chat templates."""
    return [
        {
            "role": turn["role"],
            "content": [
                {"type": "audio", "path": names[part["audio"] - 1]}
                if "audio" in part
                else {"type": "text", "text": part["text"]}
                for part in turn["content"]
            ],
        }
        for turn in turns
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
