"""A graph of what goes with what, on weights that are made and on a mixture whose information is known."""

from xml.etree import ElementTree

import pytest
import torch
from test_partners import exact

from jointdiff.graph import Graph
from jointdiff.modalities import MODALITIES

SPACE = "{http://graphml.graphdrawing.org/xmlns}"


@pytest.fixture
def made():
    """Two words, two pictures, two sounds; b has no edge to what a has."""
    weight = torch.zeros(6, 6)
    for i, j, w in ((0, 2, 3.0), (0, 3, -1.0), (1, 3, 9.0), (2, 4, 2.0), (3, 5, 20.0), (0, 5, 2.5), (1, 2, -4.0)):
        weight[i, j] = weight[j, i] = w
    return Graph(["a", "b", "a.png", "b.png", "a.wav", "b.wav"], ["word"] * 2 + ["photo"] * 2 + ["sound"] * 2, weight)


def test_a_path_is_the_likeliest_and_not_the_heaviest(made):
    assert made.follow("a", ["photo", "sound"]) == ["a", "a.png", "a.wav"]  # 3 + 2, where -1 + 20 is more
    assert made.follow("a", ["sound"]) == ["a", "b.wav"]
    assert made.follow("b.wav", ["photo", "word"]) == ["b.wav", "b.png", "b"]
    assert made.right("word", "photo") == 1 and made.right("word", "sound") == 0
    for path, message in (
        (("c", ["photo"]), "no node is called 'c'"),
        (("a", ["smell"]), "no node is of 'smell'; there are word, photo, sound"),
        (("a", ["word"]), "nodes of one modality have no edge"),
    ):
        with pytest.raises(ValueError, match=message):
            made.follow(*path)
    with pytest.raises(ValueError, match="two nodes"):
        Graph(["a", "a"], ["word", "photo"], torch.zeros(2, 2))


def test_the_file_holds_the_nodes_and_the_edges_above_0(made, tmp_path):
    made.names[0] = "a <&> ä"
    made.write(tmp_path / "g.graphml")
    root = ElementTree.parse(tmp_path / "g.graphml").getroot()
    nodes, edges = root.findall(f".//{SPACE}node"), root.findall(f".//{SPACE}edge")
    said = lambda element: {d.get("key"): d.text for d in element.findall(f"{SPACE}data")}
    assert [said(n) for n in nodes][0] == {"name": "a <&> ä", "modality": "word"} and len(nodes) == 6
    found = {(e.get("source"), e.get("target")): float(said(e)["information"]) for e in edges}
    assert found == {("n0", "n2"): 3, ("n1", "n3"): 9, ("n2", "n4"): 2, ("n3", "n5"): 20, ("n0", "n5"): 2.5}
    keys = {k.get("id"): (k.get("for"), k.get("attr.type")) for k in root.findall(f"{SPACE}key")}
    assert keys == {"name": ("node", "string"), "modality": ("node", "string"), "information": ("edge", "double")}
    assert made.picture().size == (120 + 2 * 64, 3 * 192)


def test_items_of_the_exact_model_find_their_partners():
    model, values = exact(0.95)
    model.modalities = {n: MODALITIES["array"]((4, 4), channels=1) for n in values}
    items = {n: v[:12] for n, v in values.items()}
    graph = Graph.of(model, items, {n: [f"{n}{i}" for i in range(12)] for n in items})
    first, second = list(items)[:2]
    assert graph.right(first, second) > 0.9 and torch.equal(graph.weight, graph.weight.T)
    assert (graph.weight[:12, :12] == 0).all()
    few = Graph.of(model, {n: v[:2] for n, v in values.items()}, dict.fromkeys(items, ["six", "six"]), levels=2)
    assert few.names == ["six", "six (2)", "six (3)", "six (4)"]
    with pytest.raises(ValueError, match="two modalities"):
        Graph.of(model, {first: items[first]}, {first: [str(i) for i in range(12)]})
