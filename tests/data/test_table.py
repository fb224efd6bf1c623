"""Tables: their columns, their labels, and what is no table of numbers."""

import pytest
import torch
from counting import counted

from vestige.data import table
from vestige.data.load import load_data
from vestige.data.source import DataError


def csv(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return f"csv:{tmp_path / 't.csv'}"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_column_of_labels_is_found_by_its_name(separator, tmp_path):
    text = "age,Label,height\n30,yes,1.5\n41,no,-2\n29,no,0\n30,yes,1\n".replace(",", separator)
    data = load_data(csv(tmp_path, text))
    assert data.x.tolist() == [[30, 1.5], [41, -2], [29, 0], [30, 1]]
    assert data.classes == ("no", "yes") and data.y.tolist() == [1, 0, 0, 1]
    assert data.columns == ("age", "height") and data.take(torch.tensor([2])).columns == data.columns


def test_another_column_can_be_named_and_a_header_may_lack(tmp_path):
    spec = csv(tmp_path, "a,b\n1,0\n2,1\n")
    with pytest.raises(DataError, match=r"columns a, b; .*csv:t\.csv#COLUMN"):
        load_data(spec)
    assert load_data(f"{spec}#b").x.tolist() == [[1], [2]]
    spec = csv(tmp_path, "1.5,0\n2.5,1\n")
    assert load_data(f"{spec}#2").x.tolist() == [[1.5], [2.5]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,y\n1,0\n2\n", "row 2 has 1 cells"),
        ("a,y\n1,0\n,1\n", "empty or infinite values in a"),
        ("a,b,y\n1,red,0\n2,blue,1\n", "no numbers in b"),
        ("a,a,y\n1,2,0\n", "different names"),
        ("y\n0\n1\n", "no numbers in any column"),
        ("", "0 rows under 0 names"),
        ("a,y\n1,0.5\n2,1\n", "one whole number"),
    ],
)
def test_what_is_no_table_of_numbers_is_named(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        load_data(csv(tmp_path, text))


def test_bytes_are_no_table(tmp_path):
    (tmp_path / "t.csv").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="cannot be read"):
        load_data(f"csv:{tmp_path / 't.csv'}")


def test_a_parquet_table_is_read_as_the_same_table_in_text(tmp_path):
    reason = "needs pyarrow: pip install 'vestige[tables]'"
    pyarrow, parquet = (pytest.importorskip(name, reason=reason) for name in ("pyarrow", "pyarrow.parquet"))
    columns = {"a": [0.5, -2.0, 3.0], "b": [1, 2, 30], "label": ["cat", "dog", "cat"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = load_data(f"parquet:{tmp_path / 't.parquet'}")
    rows = zip(*columns.values(), strict=True)
    same = load_data(csv(tmp_path, "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"))
    assert torch.equal(found.x, same.x) and torch.equal(found.y, same.y)
    assert found.classes == same.classes == ("cat", "dog")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match="cannot be read as a Parquet table"):
        load_data(f"parquet:{tmp_path / 't.parquet'}")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_a_column_that_numbers_the_rows_is_left_out_and_said(name, tmp_path):
    data = load_data(csv(tmp_path, f"{name},a,label\n0,.5,0\n1,.7,1\n2,.1,0\n"))
    assert data.columns == ("a",) and "numbers the rows" in data.notes[0]
    data = load_data(csv(tmp_path, f"{name},a,label\n4,.5,0\n1,.7,1\n2,.1,0\n"))
    assert data.columns == (name, "a") and not data.notes


@pytest.mark.parametrize("name", ["id", "ID", "sample_id", "PassengerId", "index", "row", "Unnamed: 0"])
def test_names_of_rows_are_no_feature(name, tmp_path):
    rows = [f"{k},{k % 3},{k % 2}" for k in range(10)]
    data = load_data(csv(tmp_path, "\n".join([f"{name},a,label", *rows])))
    assert data.columns == ("a",) and f"{name}, which numbers the rows, was left out" in data.notes[0]
    with pytest.raises(DataError, match=f"{name} names the rows: another whole number in each. Leave it out"):
        load_data(csv(tmp_path, "\n".join([f"{name},a,label", *rows[::-1]])))


@pytest.mark.parametrize("name", ["grid", "humid", "valid", "width", "keys_pressed"])
def test_a_feature_with_a_number_a_row_stays(name, tmp_path):
    rows = [f"{k},{k % 3},{k % 2}" for k in range(10)]
    assert load_data(csv(tmp_path, "\n".join([f"{name},a,label", *rows]))).columns == (name, "a")
    repeated = [f"{k // 2},{k % 3},{k % 2}" for k in range(10)]
    assert load_data(csv(tmp_path, "\n".join(["id,a,label", *repeated]))).columns == ("id", "a")


def test_decimal_commas_are_read_where_no_comma_parts_thousands(tmp_path):
    assert load_data(csv(tmp_path, "a;b;y\n0,125;7;0\n-1,250;8,5;1\n")).x.tolist() == [[0.125, 7], [-1.25, 8.5]]
    assert load_data(csv(tmp_path, "0,5;1,5;0\n2,5;3,5;1\n") + "#3").x.tolist() == [[0.5, 1.5], [2.5, 3.5]]
    with pytest.raises(DataError, match=r"no numbers in a \('1,234'\); write numbers with a decimal point"):
        load_data(csv(tmp_path, "a;y\n1,234;0\n5,678;1\n"))


def test_a_first_line_that_is_a_sample_is_no_header(tmp_path):
    iris = csv(tmp_path, "5.1,3.5,setosa\n4.9,3.0,setosa\n7.0,3.2,versicolor\n")
    assert len(load_data(f"{iris}#3")) == 3
    years = csv(tmp_path, "2019,2020,species\n1.5,2.5,cat\n3.5,4.5,dog\n")
    assert load_data(f"{years}#species").columns == ("2019", "2020")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,y\n1,cat\n2,\n3,dog\n", "1 of 3 labels are empty"),
        ("a,y\n1,0\nNA,1\n", "empty or infinite values in a"),
        ("a,y,\n1,0,\n2,1,\n", "a column without a name"),
        ("a,a,y\n1,2,0\n", "'a' stands twice"),
        ("<html><body>404</body></html>\n", "web page"),
    ],
)
def test_gaps_and_wrong_files_are_named(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        load_data(csv(tmp_path, text))


def test_gaps_of_a_parquet_table_are_no_class(tmp_path):
    reason = "needs pyarrow: pip install 'vestige[tables]'"
    pyarrow, parquet = (pytest.importorskip(name, reason=reason) for name in ("pyarrow", "pyarrow.parquet"))
    for column, said in (("label", "labels are empty"), ("a", "no numbers in a")):
        table = {"a": [0.5, 1.0, 2.0], "label": ["cat", "dog", "cat"]} | {column: ["cat", None, "dog"]}
        parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
        with pytest.raises(DataError, match=said):
            load_data(f"parquet:{tmp_path / 't.parquet'}")


def test_truth_values_are_one_and_zero_and_text_is_shown(tmp_path):
    read = load_data(csv(tmp_path, "a,b,label\nTrue,2,True\nFALSE,3,False\n"))
    assert read.x.tolist() == [[1, 2], [0, 3]] and read.y.tolist() == [1, 0] and read.classes == ("False", "True")
    for cell in ("1.5%", "2020-01-01", "cm"):
        with pytest.raises(DataError, match=rf"no numbers in a \('{cell}'\)"):
            load_data(csv(tmp_path, f"a,b,label\n{cell},2,0\n{cell},3,1\n"))
    with pytest.raises(DataError, match="the first line is a comment"):
        load_data(csv(tmp_path, "# by x\na,b,label\n1,2,0\n"))
    with pytest.raises(DataError, match="a note of Excel's: remove it"):
        load_data(csv(tmp_path, "sep=;\na;b;label\n1;2;0\n"))


def test_an_order_of_categories_is_the_order_of_the_classes(tmp_path):
    pa, pq = pytest.importorskip("pyarrow", reason="needs the extra tables"), pytest.importorskip("pyarrow.parquet")
    codes = pa.array([2, 0, 1, 0], pa.int8())
    for names, y in ((["lo", "mid", "hi"], [2, 0, 1, 0]), ([5, 6, 7], [7, 5, 6, 5])):
        label = pa.DictionaryArray.from_arrays(codes, pa.array(names), ordered=True)
        pq.write_table(pa.table({"a": [1.0, 2.0, 3.0, 4.0], "label": label}), tmp_path / "t.parquet")
        read = load_data(f"parquet:{tmp_path / 't.parquet'}")
        assert read.y.tolist() == y and read.notes == ()
        assert read.classes == (tuple(names) if names[0] == "lo" else tuple("01234567"))
    label = pa.DictionaryArray.from_arrays(codes, pa.array(["lo", "mid", "hi"]))
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0, 4.0], "label": label}), tmp_path / "t.parquet")
    read = load_data(f"parquet:{tmp_path / 't.parquet'}")
    assert read.classes == ("hi", "lo", "mid") and "in the order of their names" in read.notes[0]


def test_parquet_columns_of_vectors_decimals_and_dates(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra tables: make setup")
    import datetime
    import decimal

    from pyarrow import parquet

    def read(**columns):
        parquet.write_table(pa.table({**columns, "label": [0, 1, 0]}), tmp_path / "t.parquet")
        return load_data(f"parquet:{tmp_path / 't.parquet'}")

    vectors = [[0.5, 1.0, 6.0], [2.0, 3.0, 6.5], [4.0, 5.0, 7.0]]
    for kind in (pa.list_(pa.float64()), pa.list_(pa.float32(), 3)):
        found = read(emb=pa.array(vectors, kind), a=[7.0, 8.0, 9.0])
        assert found.x.tolist() == [[0.5, 1, 6, 7], [2, 3, 6.5, 8], [4, 5, 7, 9]]
        assert found.columns == ("emb[0]", "emb[1]", "emb[2]", "a")
    assert read(price=[decimal.Decimal("1.50")] * 3).x.tolist() == [[1.5]] * 3
    for column, words in (
        ([[0.5], [2.0, 3.0], [4.0]], "lists that are no vectors of one length"),
        ([[[0.5]], [[2.0]], [[4.0]]], "lists that are no vectors"),
        ([["a"], ["b"], ["c"]], "lists that are no vectors"),
        ([{"bytes": b"x", "path": "a"}] * 3, "holds bytes, path in each cell"),
        ([datetime.date(2020, 1, 1)] * 3, r"no numbers in a \('2020-01-01'\)"),
    ):
        with pytest.raises(DataError, match=words):
            read(a=column)


def test_a_first_row_of_numbers_is_a_sample_even_where_one_is_the_label(tmp_path):
    data = load_data(csv(tmp_path, "1,14.2,1.7\n2,13.2,1.78\n0,13.1,2.3\n") + "#1")
    assert data.y.tolist() == [1, 2, 0] and len(data.x) == 3


def test_numbers_that_count_the_columns_are_their_names(tmp_path):
    spec = csv(tmp_path, "0,1,2\n5,6,0\n7,8,1\n")
    with pytest.raises(DataError, match="columns 0, 1, 2"):
        load_data(spec)
    assert load_data(f"{spec}#2").x.tolist() == [[5, 6], [7, 8]]


def test_two_columns_that_may_be_the_labels_are_not_chosen_from(tmp_path):
    spec = csv(tmp_path, "class,target,a\n0,1,.5\n1,0,.2\n")
    with pytest.raises(DataError, match="columns class, target; which one holds the labels"):
        load_data(spec)
    assert load_data(f"{spec}#Class").y.tolist() == [0, 1]


def test_the_index_of_a_data_frame_is_no_feature(tmp_path):
    pa, pq = pytest.importorskip("pyarrow", reason="needs the extra tables"), pytest.importorskip("pyarrow.parquet")
    plain = {"a": [1.0, 2.0, 3.0], "label": [0, 1, 0]}
    pq.write_table(pa.table({**plain, "__index_level_0__": [7, 3, 9]}), tmp_path / "t.parquet")
    assert load_data(f"parquet:{tmp_path / 't.parquet'}").columns == ("a",)
    named = pa.table({**plain, "row": [7, 3, 9]}).replace_schema_metadata({"pandas": '{"index_columns": ["row"]}'})
    pq.write_table(named, tmp_path / "t.parquet")
    assert load_data(f"parquet:{tmp_path / 't.parquet'}").columns == ("a",)


def test_a_wide_table_is_read_and_a_wider_one_refused_soon(tmp_path, monkeypatch):
    names = ",".join(f"column{k}" for k in range(15_000))  # a line longer than a cell may be
    data = load_data(csv(tmp_path, f"{names},label\n" + (",".join(["0.5"] * 15_000) + ",0\n") * 2))
    assert data.x.shape == (2, 15_000)
    monkeypatch.setattr(table, "MOST_COLUMNS", 100)
    with pytest.raises(DataError, match="under 15001 names"), counted() as calls:
        load_data(f"csv:{tmp_path / 't.csv'}")
    assert calls() < 2_000_000  # quadratic: 10^8


def test_cells_are_counted_before_they_are_kept(tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow", reason="needs the extra tables"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(table, "MOST_CELLS", 5)
    with pytest.raises(DataError, match="more than 5 cells"):
        load_data(csv(tmp_path, "a,y\n1,0\n2,1\n3,1\n"))
    monkeypatch.setattr(table, "MOST_NUMBERS", 1_999)
    pq.write_table(pa.table({"a": [0] * 1000, "label": [0] * 1000}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="unpacks to 2,000 cells; at most 1,999"):
        load_data(f"parquet:{tmp_path / 't.parquet'}")
