"""Small datasets of the library ``datasets``: parquet with audio, saved to disk, and a folder of audio."""

import io
import json

import numpy as np
import soundfile

COLUMNS = ("audio", "sentence", "emotion", "id")
CLASSES = ("angry", "happy")


def clip(number, kind="FLAC"):
    """Encoded clip of at least half a second."""
    content = io.BytesIO()
    wave = 0.1 * np.sin(np.arange(8_000 + 160 * number) / (5 + number))
    soundfile.write(content, wave, 16_000, format=kind)
    return content.getvalue()


def rows(count):
    """Rows with embedded audio."""
    return [
        {
            "audio": {"bytes": clip(number), "path": f"{number}.flac"},
            "sentence": f"clip {number}",
            "emotion": number % 2,
            "id": f"row-{number}",
        }
        for number in range(count)
    ]


def write_parquet(folder, found, *, num_files=2, split="train"):
    """Write rows as parquet files with the features in their metadata, as the Hub does."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Audio, ClassLabel, Features, Value

    features = Features(
        {
            "audio": Audio(),
            "sentence": Value("string"),
            "emotion": ClassLabel(names=list(CLASSES)),
            "id": Value("string"),
        }
    )
    schema = pa.schema(
        [
            ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("sentence", pa.string()),
            ("emotion", pa.int64()),
            ("id", pa.string()),
        ]
    ).with_metadata({"huggingface": json.dumps({"info": {"features": features.to_dict()}})})
    (folder / "data").mkdir(parents=True, exist_ok=True)
    size = -(-len(found) // num_files)
    for number in range(num_files):
        part = pa.Table.from_pylist(found[number * size : (number + 1) * size], schema=schema)
        path = folder / "data" / f"{split}-{number:05d}-of-{num_files:05d}.parquet"
        pq.write_table(part, path, row_group_size=3)
    return folder


def write_saved(folder, found):
    """Write rows with ``save_to_disk``."""
    from datasets import Dataset

    source = write_parquet(folder.parent / f"{folder.name}-source", found, num_files=1)
    (path,) = (source / "data").iterdir()
    Dataset.from_parquet(str(path), cache_dir=str(folder.parent / "cache")).save_to_disk(str(folder))
    return folder


def write_audio_folder(folder, count):
    """Write a folder of audio whose labels are the names of its folders."""
    for number in range(count):
        place = folder / "train" / CLASSES[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.flac").write_bytes(clip(number))
    return folder
