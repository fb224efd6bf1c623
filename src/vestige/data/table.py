"""Tables with one row a sample: `csv:PATH` and `parquet:PATH`, the column of the labels named after a #."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vestige.core.space import InputSpace
from vestige.data.arrays import as_dataset
from vestige.data.dataset import DataSet
from vestige.data.source import DataError

LABELS = ("label", "labels", "target", "class", "y")
LARGEST_TABLE, MOST_COLUMNS = 2 * 2**30, 100_000  # bytes


def load_table(path: Path, name: str, *, keys: Sequence[str] = (), space: InputSpace | None = None) -> DataSet:
    """Read a table of numbers; one column holds the labels, as numbers or text.

    Raises:
        DataError: too large, no column of labels, or a column that is neither labels nor numbers.
    """
    if path.stat().st_size > LARGEST_TABLE:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST_TABLE:,} are read")
    columns = _parquet(path) if path.read_bytes()[:4] == b"PAR1" else _csv(path)
    wanted = keys[0] if keys else next((c for c in LABELS for real in columns if real.lower() == c), "")
    label = next((real for real in columns if real == wanted or real.lower() == wanted), None)
    if label is None:
        raise DataError(
            f"{path} has the columns {', '.join(list(columns)[:20])}; which one holds the labels? Write "
            f"csv:{path.name}#COLUMN"
        )
    features = {column: values for column, values in columns.items() if column != label}
    odd = [column for column, values in features.items() if values.dtype.kind not in "uifb"]
    if odd or not features:
        raise DataError(f"{path}: no numbers in {', '.join(odd[:5]) or 'any column'}; encode them, or leave them out")
    empty = [column for column, values in features.items() if not np.isfinite(values).all()]
    if empty:
        raise DataError(f"{path}: empty or infinite values in {', '.join(empty[:5])}; fill them, or drop the rows")
    x = np.stack([values.astype(np.float64) for values in features.values()], axis=1)
    read = as_dataset(x, columns[label], name, path, space=space, origin=f"{path.name}, labels from column {label}")
    return replace(read, columns=tuple(str(column) for column in features))


def _csv(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(",;\t|", key=first.count)
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=separator) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table of text ({error}); save it as CSV in UTF-8") from error
    head = rows[0] if rows else []
    if all(map(_is_number, head)):
        head = [str(k + 1) for k in range(len(head))]
    else:
        rows = rows[1:]
    uneven = next((k for k, row in enumerate(rows) if len(row) != len(head)), None)
    if not rows or uneven is not None or len(head) > MOST_COLUMNS or len(set(head)) != len(head):
        raise DataError(
            f"{path}: {len(rows)} rows under {len(head)} names"
            + (f"; row {uneven + 1} has {len(rows[uneven])} cells" if uneven is not None else "")
            + "; every row needs one cell under each of different names"
        )
    return {column: _column([row[k].strip() for row in rows]) for k, column in enumerate(head)}


def _column(cells: list[str]) -> np.ndarray:
    if all(_is_number(cell) or not cell for cell in cells):
        return np.array([float(cell or "nan") for cell in cells])
    return np.array(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _parquet(path: Path) -> Mapping[str, np.ndarray]:
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path} is a Parquet table, which needs pyarrow: pip install 'vestige[tables]'") from None
    try:
        table = parquet.read_table(path)
    except Exception as error:  # pyarrow raises many kinds on damaged bytes
        raise DataError(f"{path} cannot be read as a Parquet table ({error})") from error
    plain = {name: table.column(name).to_numpy() for name in table.column_names}
    return {name: v.astype(str) if v.dtype.kind == "O" else v for name, v in plain.items()}
