import pytest

from audio_lm.corpora.corpus import PREPARED
from audio_lm.corpora.imports.common import ImportOptions
from audio_lm.corpora.imports.importing import import_file
from audio_lm.data.cuts import labels_of, read_cuts
from audio_lm.data.index import IndexRules, compile_source
from audio_lm.errors import DataError, UserError

ROW = {"audio_filepath": "wavs/a.wav", "text": "one", "lang": "en"}


@pytest.fixture
def run(write_rows, tmp_path):
    """Import rows of a NeMo manifest."""

    def run(
        rows=(ROW,), corpus="mine", subset_split="all-train", options=None, report=lambda line: None, **more
    ):
        path = write_rows(rows)
        data = tmp_path / "data"
        given = options or ImportOptions()
        return import_file("nemo", path, data, corpus, subset_split, given, report, **more)

    return run


def test_the_manifest_lies_where_recipes_look_and_the_index_takes_it(run, tmp_path):
    rows = [ROW, ROW | {"audio_filepath": "wavs/c.wav"}]
    place = run(rows, subset_split="noise_1-validation")
    assert place == tmp_path / "data" / "mine" / "noise_1-validation.jsonl"
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    index = compile_source(place, "mine/noise_1-validation", IndexRules(), cache=tmp_path / "cache")
    assert len(index) == 2


def test_an_older_import_is_kept_unless_it_is_to_be_overwritten(run, tmp_path):
    run()
    with pytest.raises(UserError, match="is there already"):
        run([ROW | {"text": "two"}])
    with pytest.raises(DataError, match="is missing"):
        run([ROW | {"audio_filepath": "gone.wav"}], overwrite=True)
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert labels_of(cut)["text"] == "one"
    run([ROW | {"text": "two"}], overwrite=True)
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert labels_of(cut)["text"] == "two"


def test_two_imports_make_one_corpus(run):
    place = run()
    run(subset_split="all-test")
    assert sorted(path.name for path in place.parent.iterdir()) == ["all-test.jsonl", "all-train.jsonl"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"subset_split": "train"}, "expected a subset and one of train"),
        ({"subset_split": "all-dev"}, "expected a subset and one of train"),
        ({"subset_split": "../all-train"}, "expected a subset and one of train"),
        ({"corpus": "../mine"}, "no name of a corpus"),
        ({"corpus": ""}, "no name of a corpus"),
        ({"options": ImportOptions(split="test")}, "make them agree"),
        ({"options": ImportOptions(language="xx")}, "language 'xx' is not known"),
        ({"rows": [ROW | {"_skipme": True}]}, r"no row is left for split 'train' \(1 rows with _skipme"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing_behind(run, changed, reason, tmp_path):
    with pytest.raises((UserError, DataError), match=reason):
        run(**changed)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("written", ["English", "en-US", "eng", "<|en|>"])
def test_a_language_may_be_given_by_any_of_its_names(run, tmp_path, written):
    run([ROW | {"lang": None}], options=ImportOptions(language=written))
    (cut,) = read_cuts(tmp_path / "data", "mine/all-train")
    assert cut.supervisions[0].language == "en"


def test_languages_without_a_tag_are_imported_and_said(run, tmp_path):
    lines = []
    rows = [ROW | {"lang": "Portuguese"}, ROW | {"lang": "hi", "audio_filepath": "wavs/c.wav"}]
    run(rows, report=lines.append)
    assert [labels_of(cut)["language"] for cut in read_cuts(tmp_path / "data", "mine/all-train")] == [
        "pt",
        "hi",
    ]
    assert (
        "mine: languages without a tag, for the prompts natural and chatml only: hi (1 clips), pt (1 clips)"
        in lines
    )


def test_a_prepared_corpus_is_not_mixed_with_an_import(run, tmp_path):
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / PREPARED).write_text("{}")
    with pytest.raises(UserError, match="choose another name"):
        run()


def test_a_folder_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        run()


def test_a_missing_file_and_an_unknown_format_are_told(tmp_path):
    for name, kind, reason in (
        ("nemo", DataError, "is missing"),
        ("nemmo", UserError, "Did you mean 'nemo'"),
    ):
        with pytest.raises(kind, match=reason):
            import_file(
                name, tmp_path / "gone", tmp_path, "mine", "all-train", ImportOptions(), lambda line: None
            )
