import numpy as np

from audio_lm.data.reference import CHUNK_ROWS, MISSING, PairCodes, ReferenceTable, chunks_of


def codes(rows, choices, num_choices):
    return PairCodes(np.array(rows), np.array(choices), num_choices)


def test_chunks_hold_each_pair_once_and_depend_on_its_rows_only():
    rows = [0, 1, 1, CHUNK_ROWS, 3 * CHUNK_ROWS + 1]
    found = list(chunks_of("chat a", codes(rows, [1, 0, 0, 1, 1], 2)))
    assert [chunk.codes.tolist() for chunk in found] == [
        [1, 2],
        [2 * CHUNK_ROWS + 1],
        [2 * (3 * CHUNK_ROWS + 1) + 1],
    ]
    fewer = list(chunks_of("chat a", codes(rows[:3], [1, 0, 0], 2)))
    assert fewer[0].codes.tolist() == found[0].codes.tolist()


def test_a_table_finds_pairs_by_row_and_paraphrase():
    chunks = [
        *chunks_of("chat a", codes([4, CHUNK_ROWS + 2], [1, 0], 2)),
        *chunks_of("chat b", codes([0], [0], 1)),
    ]
    table = ReferenceTable(
        chunks, [np.array([[-1.0, -2.0]]), np.array([[-3.0, -4.0]]), np.array([[-5.0, -6.0]])]
    )
    assert table.of("chat a", 4, 1) == (-1.0, -2.0)
    assert table.of("chat a", CHUNK_ROWS + 2, 0) == (-3.0, -4.0)
    assert table.of("chat b", 0) == (-5.0, -6.0)
    assert table.of("chat a", 4, 0) == table.of("chat c", 0) == MISSING


def test_a_file_is_read_bit_for_bit_and_one_that_is_damaged_or_of_other_pairs_is_not(tmp_path):
    (chunk,) = chunks_of("chat a", codes([0, 2], [0, 0], 1))
    (other,) = chunks_of("chat a", codes([0, 1], [0, 0], 1))
    values = np.array([[-1 / 3, np.nan], [-2e-300, -7.0]])
    assert chunk.read(tmp_path) is None
    chunk.write(tmp_path, values)
    np.testing.assert_array_equal(chunk.read(tmp_path), values)
    assert other.read(tmp_path) is None
    path = chunk.path(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    assert chunk.read(tmp_path) is None
