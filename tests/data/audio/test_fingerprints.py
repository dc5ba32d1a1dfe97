import os
import time

from audio_lm.data.audio.fingerprints import describe_changes, digests_of, state_of, states_of, write_states


def kept(tmp_path, count=3):
    names = []
    for number in range(count):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(b"wave" * 10)
        names.append(str(path))
    folder = tmp_path / "index"
    folder.mkdir()
    write_states(folder, names)
    return folder, names


def touched(name, content=b"evaw" * 10):
    with open(name, "wb") as file:
        file.write(content)
    later = time.time_ns() + 10**9
    os.utime(name, ns=(later, later))


def test_files_that_stay_are_the_same_and_replaced_ones_are_named(tmp_path):
    folder, names = kept(tmp_path)
    before = state_of(folder)
    assert (before.num_files, before.changed) == (3, ())
    known = digests_of({"made/noise": before})
    assert describe_changes(known, {"made/noise": state_of(folder)}) == ""
    touched(names[1])  # as long as it was
    now = state_of(folder)
    assert now.changed == (names[1],)
    assert (
        describe_changes(known, {"made/noise": now})
        == f"audio files of made/noise were changed, such as {names[1]}"
    )


def test_a_file_that_has_gone_is_another(tmp_path):
    folder, names = kept(tmp_path)
    before = state_of(folder)
    os.unlink(names[0])
    assert state_of(folder).digest != before.digest


def test_what_is_not_known_is_not_compared(tmp_path):
    folder, _ = kept(tmp_path)
    state = {"made/noise": state_of(folder)}
    assert describe_changes(None, state) == "audio files not compared"
    assert describe_changes({"made/other": "1"}, state) == "", "a source that has come since was never heard"


def test_stretches_of_a_tar_are_known_by_the_tar(tmp_path):
    tar = tmp_path / "recording.000000.tar"
    tar.write_bytes(b"tar")
    folder = tmp_path / "index"
    folder.mkdir()
    write_states(folder, [f"{tar}@512+10", f"{tar}@1024+10"])
    before = state_of(folder)
    assert before.num_files == 1
    touched(tar)
    assert state_of(folder).changed == (str(tar),)


def test_states_are_those_of_the_files_in_order(tmp_path):
    paths = []
    for number in range(2500):
        (tmp_path / str(number)).write_bytes(b"x" * (number % 7))
        paths.append(str(tmp_path / str(number)))
    assert states_of(paths)[:, 0].tolist() == [number % 7 for number in range(2500)]
    assert states_of([]).shape == (0, 2)
