from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.gaze.readers import open_events
from deft_llm.media.events import Events

RNG = np.random.default_rng(4)
COUNT = 500
T = np.sort(RNG.integers(0, 20_000, COUNT))
ROWS = np.stack([T, *RNG.integers(0, 480, (2, COUNT)), RNG.integers(0, 2, COUNT)], axis=1)
FIELDS = np.dtype([(name, "<u8") for name in "txyp"])


def _same(events: Events, rows: np.ndarray = ROWS) -> None:
    for column, expected in zip((events.t, events.x, events.y, events.p), rows.T, strict=True):
        np.testing.assert_array_equal(column, expected)


def _text(rows: np.ndarray, comma: str = ",", head: str = "") -> str:
    return head + "\n".join(comma.join(map(str, row)) for row in rows.tolist()) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", _text(ROWS, ",", "t,x,y,p\n")),
        ("b.csv", _text(ROWS[:, [3, 1, 2, 0]], ";", "polarity;x;y;timestamp\n")),
        ("c.csv", _text(ROWS)),
        ("d.txt", _text(ROWS, " ")),  # EV-Eye's
        ("e.csv", _text(ROWS, ",", "t, x, y, p\n")),
        ("f.txt", _text(ROWS[:, [3, 1, 2, 0]], " ", "# p x y t\n")),  # as NumPy writes a header
        ("g.csv", _text(ROWS, ",", "# eye 3, left\n#t,x,y,p\n")),
        ("h.txt", _text(ROWS, " ", "# recorded on Monday\n\n")),
        ("i.txt", _text(ROWS, " ", "\n")),
    ],
)
def test_text(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    _same(open_events(path))  # type: ignore[arg-type]


def test_any_time_is_found(tmp_path: Path) -> None:
    path = tmp_path / "e.npy"
    np.save(path, ROWS)
    events = open_events(path)
    part = events.between(5_000, 7_000)
    inside = (T >= 5_000) & (T < 7_000)
    _same(part, ROWS[inside])
    assert len(events.between(30_000, 40_000)) == 0


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", events=ROWS)
    np.savez(tmp_path / "b.npz", **dict(zip("txyp", ROWS.T, strict=True)))
    np.save(tmp_path / "c.npy", np.rec.fromarrays(ROWS.T, dtype=FIELDS))
    for name in ("a.npz", "b.npz", "c.npy"):
        _same(open_events(tmp_path / name))  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["t,x,y,p\n", ""])
def test_a_table_as_a_spreadsheet_saves_it(tmp_path: Path, head: str) -> None:
    (tmp_path / "a.csv").write_text(_text(ROWS, ",", head), encoding="utf-8-sig")
    _same(open_events(tmp_path / "a.csv"))  # type: ignore[arg-type]


def test_order_duplicates_and_signs_are_mended(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[:, 3] = 2 * rows[:, 3] - 1
    rows[10:20, 0] = rows[10, 0]  # one time for ten events
    mixed = rows[RNG.permutation(COUNT)]
    (tmp_path / "a.csv").write_text(_text(mixed, ",", "t,x,y,p\n"))
    events = open_events(tmp_path / "a.csv")
    assert isinstance(events, Events)
    np.testing.assert_array_equal(events.t, np.sort(rows[:, 0]))
    assert set(events.p.tolist()) == {0, 1}
    assert int(events.p.sum()) == int(ROWS[:, 3].sum())


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "holds no events"),
        ("a.csv", b"t,x,y,p\n", "holds no events"),
        ("a.csv", b"t,x,y\n1,2,3\n", "columns t, x, y; expected t, x, y and p"),
        ("a.csv", b"1,2,3\n", "3 columns without names"),
        ("a.csv", b"t,x,y,p\n1,2,3,1\n4,5,nan,0\n", "line 3: y is no number"),
        ("a.csv", b"t,x,y,p\n1,2,3,1\n4,five,6,0\n", "line 3: x is no number"),
        ("a.csv", b"t,x,y,p\n1,2,3,1\n" + b"9" * 30 + b",2,3,1\n", "line 3: t is no number"),
        ("a.csv", b"# a\n\nt,x,y,p\n1,2,3,1\n\n4,five,6,0\n", "line 6: x is no number"),
        ("a.csv", b"# t x y p\n", "holds no events"),
        ("a.csv", b"\xff\xfe\x00", "no text in UTF-8"),
        ("a.csv", b"t,x,y,p\n0.001,2,3,1\n", "whole microseconds"),
        ("a.npz", b"PK\x03\x04 cut off", "copy it again|not readable"),
        ("a.npy", b"no array", "not readable"),
        ("a.bin", b"x", "expected a recording of events"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=told) as caught:
        open_events(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("error:Columns")
def test_a_cell_far_down_is_told_without_a_warning(tmp_path: Path) -> None:
    """The file is longer than a block in which pandas looks for the type of a column."""
    path = tmp_path / "a.csv"
    rows = ["t,x,y,p", *(f"{t},3,4,1" for t in range(300_000))]
    rows[200_001] = "200000,three,4,1"
    path.write_text("\n".join(rows))
    with pytest.raises(UserError, match="line 200002: x is no number"):
        open_events(path)


def test_a_missing_file_and_a_folder_of_many(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        open_events(tmp_path / "none.h5")
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    with pytest.raises(UserError, match=r"one recording is expected, found a\.csv, b\.csv"):
        open_events(tmp_path)


def test_layouts_of_datasets(tmp_path: Path) -> None:
    session = tmp_path / "user1" / "left" / "session_1_0_1"  # EV-Eye
    (session / "events").mkdir(parents=True)
    (session / "frames").mkdir()
    (session / "events" / "events.txt").write_text(_text(ROWS, " "))
    _same(open_events(session))  # type: ignore[arg-type]
    taken = tmp_path / "1_1"  # 3ET+: the labels lie beside the events
    taken.mkdir()
    (taken / "label.txt").write_text("(1, 2, 0)\n")
    np.save(taken / "1_1.npy", ROWS)
    _same(open_events(taken))  # type: ignore[arg-type]


@pytest.mark.parametrize(("package", "suffix"), [("h5py", ".h5"), ("faery", ".aedat4")])
def test_a_missing_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == package:
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    path = tmp_path / f"a{suffix}"
    path.touch()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=rf"needs {package}; get it with: .*deft-llm\[events\]"):
        open_events(path)


class TestHdf5:
    """Needs h5py, which the extra ``events`` brings."""

    @pytest.fixture(autouse=True)
    def _needs(self) -> None:
        pytest.importorskip("h5py")

    def _write(self, path: Path, rows: np.ndarray = ROWS, layout: str = "fields") -> Path:
        import h5py

        with h5py.File(path, "w") as file:
            if layout == "fields":  # 3ET+
                table = np.zeros(len(rows), FIELDS)
                for name, column in zip("txyp", rows.T, strict=True):
                    table[name] = column
                file["events"] = table
            elif layout == "columns":
                file["events"] = rows
            else:
                for name, column in zip("txyp", rows.T, strict=True):
                    file[f"events/{name}"] = column
        return path

    @pytest.mark.parametrize("layout", ["fields", "columns", "apart"])
    def test_layouts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
        path = self._write(tmp_path / "a.h5", layout=layout)
        _same(open_events(path))  # type: ignore[arg-type]
        # On disk: bisected, not read whole.
        monkeypatch.setattr("deft_llm.gaze.hdf5.IN_MEMORY", 0)
        events = open_events(path)
        assert events.span == (int(T[0]), int(T[-1]))
        inside = (T >= 5_000) & (T < 7_000)
        _same(events.between(5_000, 7_000), ROWS[inside])

    def test_disorder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self._write(tmp_path / "a.h5", ROWS[::-1])
        np.testing.assert_array_equal(open_events(path).between(0, 10**6).t, T)
        monkeypatch.setattr("deft_llm.gaze.hdf5.IN_MEMORY", 0)
        mixed = ROWS.copy()
        mixed[[200, 201]] = mixed[[201, 200]]
        mixed[200, 0] += 5
        events = open_events(self._write(tmp_path / "b.h5", mixed))
        with pytest.raises(UserError, match=r"event 201 is earlier"):
            events.between(0, 10**6)

    def test_damage(self, tmp_path: Path) -> None:
        import h5py

        whole = self._write(tmp_path / "a.h5").read_bytes()
        cut = tmp_path / "cut.h5"
        cut.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="no whole HDF5 file"):
            open_events(cut)
        with h5py.File(tmp_path / "mask.h5", "w") as file:
            file["mask"] = np.zeros((3, 4))
        with pytest.raises(UserError, match="holds mask, no events"):
            open_events(tmp_path / "mask.h5")
        empty = self._write(tmp_path / "empty.h5", np.zeros((0, 4), int))
        with pytest.raises(UserError, match="holds no events"):
            open_events(empty)


@pytest.mark.parametrize("suffix", [".aedat4", ".raw", ".dat", ".es"])
def test_files_of_cameras(tmp_path: Path, suffix: str) -> None:
    faery = pytest.importorskip("faery")
    path = tmp_path / f"a{suffix}"
    table = np.zeros(COUNT, faery.EVENTS_DTYPE)
    for name, column in zip(("t", "x", "y", "on"), ROWS.T, strict=True):
        table[name] = column
    faery.events_stream_from_array(table, (640, 480)).to_file(path)
    events = open_events(path)
    assert isinstance(events, Events)
    # ES comes back shifted by a constant; the others as they were.
    shift = int(events.t[0] - T[0])
    assert suffix == ".es" or shift == 0
    np.testing.assert_array_equal(np.sort(events.t) - shift, T)
    assert int(events.p.sum()) == int(ROWS[:, 3].sum())
    damaged = tmp_path / f"b{suffix}"
    damaged.write_bytes(b"not a recording at all")
    with pytest.raises(UserError, match=r"not readable|no events"):
        open_events(damaged)
