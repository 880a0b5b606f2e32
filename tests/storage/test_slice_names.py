"""Slices by name: natural order; gaps, doubles and strangers are refused and named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.core.errors import InputError
from mitoscale.storage.slice_names import check_series, find_slices, natural_key


@given(st.sets(st.integers(0, 10**6), min_size=1), st.integers(0, 8))
def test_natural_order_is_the_order_of_the_numbers(numbers: set[int], width: int) -> None:
    names = [f"s{n:0{width}d}_x.tif" for n in numbers]
    assert [int(n[1:-6]) for n in sorted(names, key=natural_key)] == sorted(numbers)


@given(st.integers(0, 200), st.integers(3, 40), st.integers(1, 38))
def test_one_missing_slice_is_named(first: int, count: int, hole: int) -> None:
    hole = first + 1 + hole % (count - 2)
    numbers = [n for n in range(first, first + count) if n != hole]
    with pytest.raises(InputError, match=rf"1 of the slices .* number {hole};"):
        check_series([f"em_{n:04d}.tif" for n in numbers])
    check_series([f"em_{n:04d}.tif" for n in range(first, first + count)])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1.tif", "2.tif", "5.tif"], "2 of the slices 1..5 missing in the series of 1.tif: number 3, 4"),
        (["01.tif", "1.tif", "2.tif"], r"slice number 1 is there more than once: 01.tif, 1.tif"),
        (["a1.png", "a1.tif", "a2.tif"], "number 1 is there more than once: a1.png, a1.tif"),
        (["a1.tif", "a2.tif", "mask.tif"], "mask.tif does not belong to the series of a1.tif"),
        (["v2_s01.tif", "v2_s02.tif", "v2_s04.tif"], "number 3"),
        (["s01_t1712.tif", "s02_t1730.tif", "s04_t1790.tif"], "number 3"),
        (["z0.tif", "z5.tif", "z10.tif", "z20.tif"], "1 of the slices 0..20 missing in the series of z0.tif: number 15"),
        ([f"z{z}_c{c}.tif" for z in range(3) for c in range(2)], r"choose a channel with --channel, one of 0, 1"),
        ([f"r{r}-c{c}.tif" for r in range(2) for c in range(2)], "tiles of a mosaic. stitch them first"),
        ([f"{a}_{z}.tif" for a in range(2) for z in range(3)], "several stacks. keep one in a folder of its own"),
    ],
)
def test_bad_series(names: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_series(names)


@pytest.mark.parametrize(
    "names",
    [
        ["only7.tif"],
        ["front.tif", "middle.tif"],
        ["v2_s01.tif", "v2_s02.tif"],
        ["20240101_s1.tif", "20240105_s2.tif", "20240109_s3.tif"],
        ["s1_of_3.TIF", "s2_of_3.tif", "s3_of_3.tiff"],
        ["z0.tif", "z5.tif", "z10.tif", "z15.tif"],
        ["t093012.tif", "t093127.tif", "t093301.tif", "t093417.tif"],
    ],
)
def test_good_series(names: list[str]) -> None:
    check_series(names)


@pytest.mark.parametrize("numbers", [[10, 12, 14, 16, 18, 20, 21], [0, 2, 4, 5, 7, 9, 10, 12]])
def test_irregular_gaps_are_gaps(numbers: list[int]) -> None:
    """Taken one after the other such slices would be squeezed in z without a word."""
    names = [f"s_{n:03d}.tif" for n in numbers]
    with pytest.raises(InputError, match="--fill-gaps"):
        check_series(names)
    filled = check_series(names, fill_gaps=True)
    assert len(filled) == numbers[-1] - numbers[0] + 1 and [name for name in filled if name] == names


@given(st.integers(0, 200), st.integers(1, 7), st.sets(st.integers(0, 60), min_size=3), st.booleans())
def test_missing_slices_are_filled_where_that_is_allowed(first: int, step: int, kept: set[int], second_number: bool) -> None:
    """Each kept name stands at its number's place, and the others are empty, whatever else is counted in the names."""
    whole = sorted(kept | {min(kept) + 1, max(kept) + 1, max(kept) + 2})  # steps of one are among them
    names = {n: f"em_{first + step * n:04d}{f'_t{1000 + n * n * 37}' if second_number else ''}.tif" for n in whole}
    count = whole[-1] - whole[0] + 1
    given_names = sorted(names.values(), key=natural_key)
    if count > 4 * len(whole) and 2 * sum(b - a == 1 for a, b in zip(whole, whole[1:], strict=False)) < len(whole) - 1:
        assert check_series(given_names, fill_gaps=True) == given_names  # they count nothing, as time stamps do
    elif count >= 2 * len(whole):
        with pytest.raises(InputError, match="are the numbers those of slices"):
            check_series(given_names, fill_gaps=True)
    else:
        assert check_series(given_names, fill_gaps=True) == [names.get(n, "") for n in range(whole[0], whole[-1] + 1)]


def test_a_channel_is_chosen_and_checked() -> None:
    names = [f"z{z}_ch{c}.tif" for z in range(3) for c in range(2)]
    assert check_series(names, 1) == ["z0_ch1.tif", "z1_ch1.tif", "z2_ch1.tif"]
    with pytest.raises(InputError, match="number 1"):
        check_series([n for n in names if n != "z1_ch1.tif"], 1)


def test_brackets_in_a_folder_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "scan [2]"
    folder.mkdir()
    (folder / "a1.tif").touch()
    expected = (str(folder / "a1.tif"),)
    assert find_slices(str(folder)) == find_slices(f"{folder}/*.tif") == find_slices(expected[0]) == expected


def test_folders_globs_and_files(tmp_path: Path) -> None:
    for name in ("s10.tif", "s9.TIF", "s8.png", "._s8.tif", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "s7.tif").mkdir()
    expected = [str(tmp_path / n) for n in ("s8.png", "s9.TIF", "s10.tif")]
    assert list(find_slices(str(tmp_path))) == expected
    assert list(find_slices(f"{tmp_path}/s*0.tif")) == expected[2:]
    assert list(find_slices(expected[0])) == expected[:1]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_slices(str(tmp_path / "none.tif"))
    with pytest.raises(InputError, match="holds no slices"):
        find_slices(str(tmp_path))
    with pytest.raises(InputError, match="nothing matches"):
        find_slices(f"{tmp_path}/*.tif")
