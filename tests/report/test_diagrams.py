"""Tables as shades and diagrams of a stream: what stands in them."""

import xml.etree.ElementTree as ET

import torch

from vestige.report import diagrams


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def test_a_small_table_has_its_numbers_and_a_wide_one_only_shades():
    small = torch.tensor([[0.25, 1.5], [0.0, 0.5]])  # beyond 1 is 1
    said = texts(
        diagrams.shares_table(small, ["4", "8"], ["16", "32"], xlabel="m", ylabel="d", line=[(0.0, 0.0), (1.0, 1.0)])
    )
    assert {"0.25", "1.00", "0.00", "0.50", "4", "8", "16", "32", "m", "d"} <= set(said)
    wide = texts(diagrams.shares_table(torch.full((2, 40), 0.25), ["a $x$", "b"], [], xlabel="neurons", ylabel=""))
    assert "0.25" not in wide and "a $x$" in wide


def test_a_stream_names_its_blocks_parts_and_who_reads_how():
    parts = [
        ("layer 0, head 0", {"query": ["a"], "key": ["a", "b"], "value": ["b"]}, ["c"]),
        ("MLP", {"reads": []}, []),
    ]
    drawn = diagrams.stream_diagram({"a": 3, "b": 1, "c": 50}, parts)
    said = texts(drawn)
    assert {"a (3)", "b (1)", "c (50)", "layer 0, head 0", "MLP", "qk", "kv"} <= set(said)
    assert drawn == diagrams.stream_diagram({"a": 3, "b": 1, "c": 50}, parts) and b"currentColor" in drawn
    other = diagrams.stream_diagram({"a": 3, "b": 1, "c": 50}, [(parts[0][0], {"query": ["b"]}, ["c"])])
    assert "qk" not in texts(other) and "q" in texts(other)
