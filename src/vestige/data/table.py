"""Tables with one row a sample: `csv:PATH` and `parquet:PATH`, the column of the labels named after a #."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from vestige.core.space import InputSpace
from vestige.data.arrays import as_dataset
from vestige.data.dataset import DataSet
from vestige.data.other_kinds import refuse_other_kinds
from vestige.data.source import DataError

LABELS = ("label", "labels", "target", "class", "y")
LARGEST_TABLE, MOST_COLUMNS = 2 * 2**30, 100_000  # bytes
FEW = 8  # rows up to which numbers may differ by chance
MOST_CELLS = 10**8  # in a table of text, some 60 bytes each
MOST_NUMBERS = 2**28  # in a Parquet table, 2 GiB as float64
SEEN = 20  # lines that say how cells are parted
_INDEX = re.compile(r"__index_level_\d+__")  # numbers or names of rows, whatever their order
_ROWS = re.compile(r"|Unnamed: \d+|__index_level_\d+__|(?i:(.*[\W_])?(id|idx|index|row|key|uid))|.*[a-z](Id|ID)")
_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")  # a decimal comma
_THOUSANDS = re.compile(r"[+-]?(0|[1-9]\d{0,2}(,\d{3})?)")  # or one that parts thousands, which nobody can tell
MISSING = {"", "na", "n/a", "null", "none", "?"}  # beside nan, which is a number


def load_table(path: Path, name: str, *, keys: Sequence[str] = (), space: InputSpace | None = None) -> DataSet:
    """Read a table of numbers; one column holds the labels, as numbers or text.

    Raises:
        DataError: too large, no column of labels, or a column that is neither labels nor numbers.
    """
    if path.stat().st_size > LARGEST_TABLE:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST_TABLE:,} are read")
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    columns, ordered = _parquet(path) if is_parquet else (_csv(path, keys), {})
    fitting = [real for real in columns if real.lower() in ([k.lower() for k in keys[:1]] if keys else LABELS)]
    label = keys[0] if keys and keys[0] in columns else fitting[0] if len(fitting) == 1 else None
    if label is None:
        raise DataError(
            f"{path} has the columns {_shown(fitting or list(columns), 20)}; which one holds the labels? Write "
            f"{'parquet' if is_parquet else 'csv'}:{path.name}#COLUMN"
        )
    features = {column: values for column, values in columns.items() if column != label}
    rows = [column for column, values in features.items() if _numbers_rows(column, values)]
    features = {column: values for column, values in features.items() if column not in rows}
    named = [column for column, values in features.items() if _ROWS.fullmatch(column) and _distinct(values)]
    if named:
        raise DataError(
            f"{path}: {_shown(named)} names the rows: another whole number in each. Leave it out, or give it another "
            "name where the model was trained on it"
        )
    features = {column: _truth_values(values) for column, values in features.items()}
    odd = {column: _text_in(values) for column, values in features.items() if values.dtype.kind not in "uifb"}
    if odd or not features:
        commas = any("," in cell and _is_number(cell.replace(",", "")) for cell in odd.values())
        advice = "write numbers with a decimal point, and no comma" if commas else "encode them, or leave them out"
        told = ", ".join(f"{_shown([name])} ({cell!r})" for name, cell in list(odd.items())[:5])
        raise DataError(f"{path}: no numbers in {told or 'any column'}; {advice}")
    empty = [column for column, values in features.items() if not np.isfinite(values).all()]
    if empty:
        raise DataError(f"{path}: empty or infinite values in {_shown(empty)}; fill them, or drop the rows")
    x = np.stack([values.astype(np.float64) for values in features.values()], axis=1)
    read = as_dataset(
        x, columns[label], name, path, names=ordered.get(label, ()), space=space,
        origin=f"{path.name}, labels from column {label}",
    )  # fmt: skip
    told = read.provenance + (f"; {_shown(rows)}, which numbers the rows, was left out" if rows else "")
    return replace(read, columns=tuple(str(column) for column in features), provenance=told)


def _shown(columns: Sequence[str], most: int = 5) -> str:
    return ", ".join(name[:40] or "a column without a name" for name in columns[:most])


def _text_in(values: np.ndarray) -> str:
    """The first cell that is no number, as far as the first rows have one."""
    cells = [str(value)[:30] for value in values[:SEEN]]
    return next((cell for cell in cells if not _is_number(cell) and cell.lower() not in MISSING), cells[0])


def _truth_values(values: np.ndarray) -> np.ndarray:
    """True and False as text, as pandas writes them, as 1 and 0."""
    if values.dtype.kind != "U" or not set(np.char.lower(np.unique(values)).tolist()) <= {"true", "false"}:
        return values
    return (np.char.lower(values) == "true").astype(np.float64)


def _csv(path: Path, keys: Sequence[str]) -> Mapping[str, np.ndarray]:
    refuse_other_kinds(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = _separator([line for line, _ in zip(file, range(SEEN), strict=False)])
            file.seek(0)
            rows, held = [], 0
            for row in filter(None, csv.reader(file, delimiter=separator)):
                held += len(row)
                if held > MOST_CELLS:
                    raise DataError(f"{path} has more than {MOST_CELLS:,} cells; write so many as Parquet or npz")
                rows.append(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table of text ({error}); save it as CSV in UTF-8") from error
    head = [cell.strip() for cell in rows[0]] if rows else []
    if head and head[0].lstrip().startswith("<"):
        raise DataError(f"{path} is a web page, not a table: the download failed; open the link in a browser")
    if _is_row(head, rows[1:2], keys):
        head = [str(k + 1) for k in range(len(head))]
    else:
        rows = rows[1:]
    uneven = next((k for k, row in enumerate(rows) if len(row) != len(head)), None)
    if not rows or uneven is not None or len(head) > MOST_COLUMNS or len(set(head)) != len(head):
        raise DataError(
            f"{path}: {len(rows)} rows under {len(head)} names"
            + (f"; row {uneven + 1} has {len(rows[uneven])} cells" if uneven is not None else "")
            + ("; the first line is a comment (#): remove it" if head and head[0].startswith("#") else "")
            + ("; the first line is a note of Excel's: remove it" if head and head[0].startswith("sep=") else "")
            + (
                f"; {twice!r} stands twice"
                if (twice := next((n[:80] for n, k in Counter(head).items() if k > 1), ""))
                else ""
            )
            + "; every row needs one cell under each of different names"
        )
    return {column: _column([row[k].strip() for row in rows]) for k, column in enumerate(head)}


def _separator(lines: list[str]) -> str:
    """What parts every line into as many cells; a comma last, which may also stand in numbers."""
    for separator in ";\t|,":
        try:
            counts = {len(row) for row in csv.reader(lines, delimiter=separator) if row}
        except csv.Error:  # a line without this separator, longer than a cell may be
            continue
        if len(counts) == 1 and counts.pop() > 1:
            return separator
    return max(",;\t|", key=(lines or [""])[0].count)


def _is_row(head: list[str], following: list[list[str]], known: Sequence[str]) -> bool:
    """Whether the first line is a sample already: numbers where the next one has them, and no name of the labels.

    Numbers that count the columns are names, as pandas writes those of an array.
    """
    if head[:1] in (["0"], ["1"]) and len(head) > 2 and head == [str(k + int(head[0])) for k in range(len(head))]:
        return False
    kinds = [[_is_number(cell) or _COMMA.fullmatch(cell) is not None for cell in row] for row in [head, *following]]
    named = any((cell in known and not _is_number(cell)) or cell.lower() in LABELS for cell in head)
    return any(kinds[0]) and not named and all(kind == kinds[0] for kind in kinds)


def _column(cells: list[str]) -> np.ndarray:
    if all(map(_COMMA.fullmatch, cells)) and not all(map(_THOUSANDS.fullmatch, cells)):
        cells = [cell.replace(",", ".") for cell in cells]
    known = [cell for cell in cells if cell.lower() not in MISSING]
    if known and all(map(_is_number, known)):
        return np.array([float("nan" if cell.lower() in MISSING else cell) for cell in cells])
    return np.array(cells)


def _numbers_rows(column: str, values: np.ndarray) -> bool:
    if not _ROWS.fullmatch(column):
        return False
    return values.dtype.kind in "uif" and len(values) > 1 and bool((np.diff(values) == 1).all())


def _distinct(values: np.ndarray) -> bool:
    """Whether each row has a whole number of its own, in too many rows for chance."""
    whole = values.dtype.kind in "uif" and bool((values == np.round(values)).all())
    return whole and len(values) >= FEW <= len(np.unique(values)) == len(values)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _parquet(path: Path) -> tuple[Mapping[str, np.ndarray], Mapping[str, list[str]]]:
    """The columns, and of those whose categories have an order that order."""
    try:
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(f"{path} is a Parquet table, which needs pyarrow: pip install 'vestige[tables]'") from None
    try:
        file = parquet.ParquetFile(path).metadata
        groups = [file.row_group(k) for k in range(file.num_row_groups)]
        held = sum(group.column(k).num_values for group in groups for k in range(file.num_columns))
        if held > MOST_NUMBERS:  # a few bytes can say a great many
            raise DataError(f"{path} unpacks to {held:,} cells; at most {MOST_NUMBERS:,} are read")
        table = parquet.read_table(path)
    except DataError:
        raise
    except Exception as error:  # pyarrow raises many kinds on damaged bytes
        raise DataError(f"{path} cannot be read as a Parquet table ({error})") from error
    plain: dict[str, np.ndarray] = {}
    ordered = {}
    for field in table.schema:
        if getattr(field.type, "ordered", False) and len(table):
            values = table.column(field.name).unify_dictionaries().chunk(0).dictionary.to_pylist()
            ordered |= {field.name: values} if all(isinstance(value, str) for value in values) else {}
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    for name in table.column_names:
        if name in index or _INDEX.fullmatch(name):
            continue
        values = table.column(name).to_numpy()
        if values.dtype.kind == "O" and len(values) and isinstance(values[0], np.ndarray | list | dict):
            plain |= _parts(path, name, values)
        else:
            plain[name] = _as_text(values) if values.dtype.kind == "O" else values
    return plain, ordered


def _parts(path: Path, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """A column of vectors, such as embeddings, as a column for each of their entries."""
    if any(isinstance(value, dict) for value in values):
        raise DataError(
            f"{path}: {name} holds {', '.join(values[0])[:60]} in each cell, images as files hold them? Save them as "
            "files, one folder a class: folder:PATH"
        )
    try:
        rows = np.stack([np.asarray(value, dtype=np.float64) for value in values])
    except (ValueError, TypeError):
        raise DataError(f"{path}: {name} holds lists that are no vectors of one length; give plain columns") from None
    if rows.shape[1] > MOST_COLUMNS:
        raise DataError(f"{path}: {name} holds {rows.shape[1]:,} numbers a row; at most {MOST_COLUMNS:,} are read")
    return {f"{name}[{k}]": rows[:, k] for k in range(rows.shape[1])}


def _as_text(values: np.ndarray) -> np.ndarray:
    """Empty where there is no value; decimals, and truth values with gaps among them, are numbers."""
    if all(value is None or isinstance(value, bool) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    if all(value is None or isinstance(value, Decimal) for value in values):
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array(["" if value is None else str(value) for value in values])
