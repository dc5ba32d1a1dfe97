import pytest

from audio_lm.common.errors import DataError
from audio_lm.corpora.imports.decoder_pipes import file_of_pipe


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("wavs/a.wav", "wavs/a.wav"),
        ("flac -c -d -s a.flac |", "a.flac"),
        ("flac -cds a.flac|", "a.flac"),
        ("flac --decode --stdout --silent a.flac |", "a.flac"),
        ("cat 'my clips/a.wav' |", "my clips/a.wav"),
        ("/usr/bin/sox a.mp3 -t wav - |", "a.mp3"),
        ("sox -t wav a.wav -r 16k -b 16 -c 1 -t wav - |", "a.wav"),
        ("sph2pipe -f wav a.sph |", "a.sph"),
        ("ffmpeg -i a.m4a -f wav - |", "a.m4a"),
        (
            "ffmpeg -nostdin -loglevel error -i a.m4a -acodec pcm_s16le -ar 16000 -ac 1 -f wav pipe:1 |",
            "a.m4a",
        ),
    ],
)
def test_a_command_that_only_decodes_is_its_file(command, file):
    assert file_of_pipe(command) == file


def test_a_mixture_of_channels_is_refused_where_one_is_chosen():
    assert file_of_pipe("sox a.wav -c 1 -t wav - |") == "a.wav"
    with pytest.raises(DataError, match="may change the audio by '-c 1'"):
        file_of_pipe("sox a.wav -c 1 -t wav - |", averages=False)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("sph2pipe -f wav -p -c 1 a.sph |", "may change the audio by '-c'"),
        ("ffmpeg -ss 3 -i a.mp3 -f wav - |", "may change the audio by '-ss'"),
        ("ffmpeg -ar 16000 -i a.mp3 -f wav - |", "may change the audio by '-ar 16000'"),
        ("ffmpeg -i a.mp3 -af atempo=2 -f wav - |", "may change the audio by '-af'"),
        ("sox a.wav -t wav - trim 0 3 |", "may change the audio"),
        ("sox a.wav -t wav - remix 1 |", "may change the audio"),
        ("sox -v 0.5 a.wav -t wav - |", "may change the audio by '-v'"),
        ("sox a.wav -r 8000 -t wav - |", "may change the audio by '-r 8000'"),
        ("sox -r 16000 a.raw -t wav - |", "may change the audio by '-r 16000'"),
        ("sox -r 16000 -b16 -c 1 --null -t wav - synth 1 sine 3|", "may change the audio"),
        ("sox a.wav b.wav -t wav - |", "names 2 files"),
        ("cat a.wav b.wav |", "names 2 files"),
        ("flac --decode --stdout --skip=3 a.flac |", "may change the audio by '--skip=3'"),
        ("flac -c a.wav |", "does not decode"),
        ("cat a.wav | sox -t wav - -t wav - |", "commands are not run"),
        ("cat $(rm -r x) |", "commands are not run"),
        ("cat a.wav; rm x |", "commands are not run"),
        ("gunzip -c a.wav.gz |", "commands are not run"),
        ("|", "commands are not run"),
        ("cat 'a.wav |", "open quote"),
    ],
)
def test_a_command_that_does_more_is_refused_with_the_cure(command, reason):
    with pytest.raises(DataError, match=rf"{reason}.*; run it and write its output to a file"):
        file_of_pipe(command)
