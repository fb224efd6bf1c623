"""What a file of data is that is not read, told from its first bytes, and what to do with it."""

import re
from pathlib import Path

from vestige.data.source import DataError

SEEN = 512
_ARRAYS = "load it there and save samples and labels with numpy.savez"
_KINDS = (
    (rb"\x80[\x02-\x05]", f"a pickle, such as CIFAR's batches: a program, which is not run; {_ARRAYS}"),
    (rb"\x00\x00[\x08\x09\x0b-\x0e][\x01-\x05]", "an IDX file, as MNIST comes in; numpy.frombuffer(bytes, '>u1', "
     "offset=16).reshape(-1, 28, 28) has its images, offset=8 its labels: save them with numpy.savez"),
    (rb"MATLAB ", f"a MATLAB file, which is not read; {_ARRAYS} (scipy.io.loadmat, or h5py from 7.3 on)"),
    (rb"\x89HDF", f"an HDF5 file, which is not read; {_ARRAYS}"),
    (rb"ARROW1|\xff{4}", "an Arrow table, which is not read; write it as Parquet, in datasets with to_parquet"),
    (rb"PAR1", "a Parquet table; write parquet:PATH"),
    (rb"\x1f\x8b|BZh\d1AY|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed: unpack it first"),
    (rb".{257}ustar", "a tar archive: unpack it first"),
    # Of an archive the name of the first file in it, which begins at the 31st byte.
    (rb"PK\x03\x04.{26}(xl/|docProps/|_rels/|\[Content_Types\])", "a spreadsheet: save it as CSV"),
    (rb"PK\x03\x04.{26}[^/]{1,100}/(data\.pkl|version|byteorder|\.format)",
     f"a file of torch.save, a pickle; {_ARRAYS}"),
    (rb"\s*@relation", "an ARFF file, which is not read; save the table as CSV"),
    (rb"\s*[{\[]\s*[\"{\[]", "JSON text, which is not read; save the table as CSV"),
    (rb"[-+\w.]+( \d+:[-+.\w]+)+\s", "in the format of libsvm, which is not read; save the table as CSV"),
)  # fmt: skip


def kind_of(path: Path) -> str:
    """Its kind and the next step; "" where the first bytes do not say.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = Path(file.name).write_bytes(b"@relation iris")
    ...     kind_of(Path(file.name))
    'an ARFF file, which is not read; save the table as CSV'
    """
    with path.open("rb") as stream:
        head = stream.read(SEEN)
    return next((words for pattern, words in _KINDS if re.match(pattern, head, re.DOTALL | re.IGNORECASE)), "")


def refuse_other_kinds(path: Path) -> None:
    """Whatever its name says.

    Raises:
        DataError: the file is of a kind that is not read.
    """
    if kind := kind_of(path):
        raise DataError(f"{path} is {kind}")
