"""A graph of what goes with what: items of all modalities, and how much each says of each other one.

The weight of an edge is the pointwise mutual information log p(b | a) - log p(b) under the network, in nats (see `search`), the
mean of both directions. It is written as GraphML (Brandes et al. 2002, doi:10.1007/3-540-45848-4_59), which graph programs read.
"""

import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch
from tqdm import tqdm

from .files import write_atomically
from .report import cells
from .search import Index, information


class Graph:
    """`names` of the nodes, the `modality` of each, and `weight` `(N, N)` in nats, 0 within a modality.

    `tiles`, where there are any, are the nodes' pictures, uint8 `(H, W, 3)`.
    """

    def __init__(
        self, names: Sequence[str], modality: Sequence[str], weight: torch.Tensor, tiles: Sequence | None = None
    ):
        if len(set(names)) < len(names):
            raise ValueError("two nodes of a graph have the same name")
        self.names, self.modality, self.weight, self.tiles = list(names), list(modality), weight, tiles

    @classmethod
    def of(
        cls, model, items: Mapping[str, Any], labels: Mapping[str, list[str]], levels: int = 24, seed: int = 0
    ) -> "Graph":
        """Of values by modality, as `Model.encode` takes them, and what each is called; a second "six" is "six (2)"."""
        items = {n: model.encode(n, v) for n, v in items.items()}
        if len(items) < 2:
            raise ValueError("a graph needs items of two modalities or more")
        owner = [n for n, v in items.items() for _ in range(len(v))]
        names: list[str] = []
        for label in (label for n in items for label in labels[n]):
            again = (f"{label} ({k})" for k in itertools.count(2))
            names.append(label if label not in names else next(name for name in again if name not in names))
        starts, at = {}, 0
        for name, values in items.items():
            starts[name], at = at, at + len(values)
        weight = torch.zeros(at, at)
        for node in tqdm(range(at), unit="item", desc="graph", leave=False, disable=None):
            own = owner[node]
            query = {own: items[own][node - starts[own]]}
            for name, values in items.items():
                if name != own:
                    weight[node, starts[name] : starts[name] + len(values)] = information(
                        model, query, name, values, levels, seed
                    )
        tiles = [tile for n, v in items.items() for tile in cells(model.modalities[n], v, framed=False, gap=2)]
        return cls(names, owner, (weight + weight.T) / 2, tiles)

    @classmethod
    def read(cls, model, index: str | os.PathLike, **how) -> "Graph":
        """Of a folder of files or a table (see `search.Index`)."""
        found = Index.read(model, index)
        return cls.of(model, found.items, found.labels, **how)

    def places(self, modality: str) -> list[int]:
        found = [i for i, m in enumerate(self.modality) if m == modality]
        if not found:
            raise ValueError(f"no node is of {modality!r}; there are {', '.join(dict.fromkeys(self.modality))}")
        return found

    def follow(self, start: str, through: Sequence[str]) -> list[str]:
        """The likeliest path from a node through modalities, one node of each.

        The weights of a node's edges to one modality are taken as logs of what it leads to there, up to a constant. "What sounds
        like what is drawn like this word?" is `follow("seven", ["image", "audio"])`, whose last node is the answer.
        """
        if start not in self.names:
            raise ValueError(f"no node is called {start!r}; there are {', '.join(self.names[:20])}")
        layers = [[self.names.index(start)], *(self.places(m) for m in through)]
        for a, b in zip([self.modality[layers[0][0]], *through], through):
            if a == b:
                raise ValueError(f"a path goes from {a!r} to {b!r}: nodes of one modality have no edge")
        best, back = torch.zeros(1), []  # of each node of a layer, the log of the likeliest path to it
        for here, there in zip(layers, layers[1:]):
            total = best[:, None] + self.weight[here][:, there].log_softmax(1)
            best, came = total.max(0)
            back.append(came)
        path = [int(best.argmax())]
        for came in reversed(back):
            path.append(int(came[path[-1]]))
        return [self.names[layer[i]] for layer, i in zip(layers, reversed(path))]

    def right(self, a: str, b: str) -> float:
        """How often a node of one modality has its heaviest edge to its partner in the other: the one in the same place."""
        return float(
            (self.weight[self.places(a)][:, self.places(b)].argmax(1) == torch.arange(len(self.places(a))))
            .double()
            .mean()
        )

    def write(self, path: str | os.PathLike) -> None:
        """As GraphML: nodes with `name` and `modality`, edges above 0 with `information` in nats."""
        root = ElementTree.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
        for key, of, kind in (
            ("name", "node", "string"),
            ("modality", "node", "string"),
            ("information", "edge", "double"),
        ):
            ElementTree.SubElement(root, "key", {"id": key, "for": of, "attr.name": key, "attr.type": kind})
        graph = ElementTree.SubElement(root, "graph", edgedefault="undirected")
        data = lambda parent, key, value: ElementTree.SubElement(parent, "data", key=key)
        for i, (name, modality) in enumerate(zip(self.names, self.modality)):
            node = ElementTree.SubElement(graph, "node", id=f"n{i}")
            data(node, "name", name).text, data(node, "modality", modality).text = name, modality
        for i, j in (self.weight.triu(1) > 0).nonzero().tolist():
            edge = ElementTree.SubElement(graph, "edge", source=f"n{i}", target=f"n{j}")
            data(edge, "information", "").text = f"{float(self.weight[i, j]):.4f}"
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
        write_atomically(
            pathlib.Path(path), lambda p: p.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', "utf-8")
        )

    def picture(self, step: int = 64) -> PIL.Image.Image:
        """A line a modality; each node's heaviest edge to every other modality, the darker the more information."""
        lines = [self.places(m) for m in dict.fromkeys(self.modality)]
        wide, high = 120 + step * max(map(len, lines)), 3 * step
        image = PIL.Image.new("RGB", (wide, high * len(lines)), "white")
        draw, font = PIL.ImageDraw.Draw(image), PIL.ImageFont.load_default(size=14)
        place = {
            i: (120 + step * k + step // 2, high * r + high // 2)
            for r, line in enumerate(lines)
            for k, i in enumerate(line)
        }
        most = max(float(self.weight.max()), 1e-9)
        for a, line in enumerate(lines):
            for other in lines[:a] + lines[a + 1 :]:
                for i in line:
                    j = max(other, key=lambda j: float(self.weight[i, j]))
                    if self.weight[i, j] > 0:
                        shade = round(225 * (1 - float(self.weight[i, j]) / most))
                        bend = 0 if abs(place[i][1] - place[j][1]) <= high else step // 3  # past the line between
                        middle = ((place[i][0] + place[j][0]) / 2 + bend, (place[i][1] + place[j][1]) / 2)
                        draw.line([place[i], middle, place[j]], (shade, shade, 225), 2)
        for row, line in enumerate(lines):
            draw.text((8, high * row + high // 2), self.modality[line[0]], "black", font, anchor="lm")
            for i in line:
                x, y = place[i]
                if self.tiles is not None:
                    tile = PIL.Image.fromarray(self.tiles[i])
                    tile = tile.resize((step - 8, max(1, round(tile.height * (step - 8) / tile.width))))
                    image.paste(tile, (x - tile.width // 2, y - tile.height // 2))
                else:
                    draw.text((x, y), self.names[i][:9], "black", font, anchor="mm")
        return image
