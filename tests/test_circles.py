"""The import graph has no circle, neither of files nor of packages."""

import pytest

from tests.test_imports import imported, modules


def module_graph() -> dict[str, set[str]]:
    """Every module, with those that it imports, also inside functions."""
    known = modules()

    def resolved(name: str) -> str:
        while name and name not in known:  # a function or a class of a module
            name = name.rpartition(".")[0]
        return name

    return {
        module: {resolved(name) for name in imported(path)} - {module, ""}
        for module, path in known.items()
    }


def package_graph() -> dict[str, set[str]]:
    """The same of packages; a file that stands beside packages stands for itself."""
    graph = module_graph()
    folders = {module.rpartition(".")[0] for module in graph}
    above = {folder.rpartition(".")[0] for folder in folders}

    def package(module: str) -> str:
        folder = module.rpartition(".")[0]
        if module in folders:  # an __init__.py
            return f"{module}.__init__"
        return module if folder in above else folder

    found: dict[str, set[str]] = {}
    for module, others in graph.items():
        found.setdefault(package(module), set()).update(map(package, others))
    return {name: others - {name} for name, others in found.items()}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node, by Kosaraju's algorithm."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(node: str, edges: dict[str, set[str]], into: list[str]) -> None:
        if node not in seen:
            seen.add(node)
            for other in sorted(edges.get(node, ())):
                visit(other, edges, into)
            into.append(node)

    for node in graph:
        visit(node, graph, order)
    backwards: dict[str, set[str]] = {}
    for node, others in graph.items():
        for other in others:
            backwards.setdefault(other, set()).add(node)
    seen.clear()
    found = []
    for node in reversed(order):
        component: list[str] = []
        visit(node, backwards, component)
        if len(component) > 1:
            found.append(sorted(component))
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("graph", [module_graph, package_graph])
def test_nothing_imports_itself_through_others(graph):
    assert circles(graph()) == []
