from __future__ import annotations

import numpy as np
import pytest

from transferline.data.lumimask import LumiMask
from transferline.errors import DataError


def mask(tmp_path, text):
    path = tmp_path / "golden.json"
    path.write_text(text)
    return LumiMask.read(path)


def test_intervals_include_their_ends(tmp_path):
    certified = mask(tmp_path, '{"2": [[1, 3], [7, 7]], "10": [[5, 6]]}')
    run = np.array([2, 2, 2, 2, 2, 10, 10, 3, 1], np.uint32)
    lumi = np.array([1, 3, 4, 7, 8, 5, 7, 2, 2], np.uint32)
    expected = [True, True, False, True, False, True, False, False, False]
    assert certified(run, lumi).tolist() == expected


def test_overlapping_intervals(tmp_path):
    certified = mask(tmp_path, '{"2": [[1, 9], [2, 3]]}')
    assert certified(np.array([2, 2], np.uint32), np.array([8, 10], np.uint32)).tolist() == [
        True,
        False,
    ]


def test_nothing_certified(tmp_path):
    certified = mask(tmp_path, "{}")
    assert not certified(np.array([2], np.uint32), np.array([8], np.uint32)).any()


@pytest.mark.parametrize("text", ["[1, 2]", '{"2": [[1]]}', '{"run": [[1, 2]]}', '{"2": 3}'])
def test_other_shapes_are_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"golden\.json: is not a golden JSON"):
        mask(tmp_path, text)


@pytest.mark.parametrize("block", ["1.9", "true", '"4"'])
def test_blocks_are_whole_numbers(tmp_path, block):
    with pytest.raises(DataError, match=r"golden\.json: .*\(run 2: (1\.9|True|4) is no number"):
        mask(tmp_path, f'{{"2": [[{block}, 5]]}}')


def test_a_run_stands_there_once(tmp_path):
    with pytest.raises(DataError, match=r"golden\.json: run 2 stands there 2 times"):
        mask(tmp_path, '{"2": [[1, 5]], "3": [], "2": [[7, 9]]}')


def test_a_cut_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"golden\.json: is damaged, it is not JSON"):
        mask(tmp_path, "{")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        LumiMask.read(tmp_path / "none.json")
