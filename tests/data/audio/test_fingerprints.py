import os
import time

from audio_lm.data.audio.fingerprints import describe_changes, digests_of, state_of, states_of, write_states


def indexed(tmp_path, count=3):
    names = []
    for number in range(count):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(b"wave" * 10)
        names.append(str(path))
    folder = tmp_path / "index"
    folder.mkdir()
    write_states(folder, names)
    return folder, names


def rewrite(name, content=b"evaw" * 10):
    with open(name, "wb") as file:
        file.write(content)
    later = time.time_ns() + 10**9
    os.utime(name, ns=(later, later))


def test_unchanged_files_are_equal_and_replaced_files_are_named(tmp_path):
    folder, names = indexed(tmp_path)
    before = state_of(folder)
    assert (before.num_files, before.changed) == (3, ())
    known = digests_of({"made/noise": before})
    assert describe_changes(known, {"made/noise": state_of(folder)}) == ""
    rewrite(names[1])  # of the same length
    now = state_of(folder)
    assert now.changed == (names[1],)
    assert (
        describe_changes(known, {"made/noise": now})
        == f"audio files of made/noise were changed, such as {names[1]}"
    )


def test_a_deleted_file_changes_the_digest(tmp_path):
    folder, names = indexed(tmp_path)
    before = state_of(folder)
    os.unlink(names[0])
    assert state_of(folder).digest != before.digest


def test_unknown_states_are_not_compared(tmp_path):
    folder, _ = indexed(tmp_path)
    state = {"made/noise": state_of(folder)}
    assert describe_changes(None, state) == "audio files not compared"
    assert describe_changes({"made/other": "1"}, state) == "", "an added source was not trained on before"


def test_byte_ranges_share_the_state_of_their_tar(tmp_path):
    tar = tmp_path / "recording.000000.tar"
    tar.write_bytes(b"tar")
    folder = tmp_path / "index"
    folder.mkdir()
    write_states(folder, [f"{tar}@512+10", f"{tar}@1024+10"])
    before = state_of(folder)
    assert before.num_files == 1
    rewrite(tar)
    assert state_of(folder).changed == (str(tar),)


def test_states_are_those_of_the_files_in_order(tmp_path):
    paths = []
    for number in range(2500):
        (tmp_path / str(number)).write_bytes(b"x" * (number % 7))
        paths.append(str(tmp_path / str(number)))
    assert states_of(paths)[:, 0].tolist() == [number % 7 for number in range(2500)]
    assert states_of([]).shape == (0, 2)
