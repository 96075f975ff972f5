"""No function above 60 lines, no module above 600."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MAX_FUNCTION, MAX_MODULE = 60, 600


def too_long(path: Path) -> list[str]:
    """Lines that name what is too long in one file."""
    text = path.read_text()
    found = []
    if text.count("\n") > MAX_MODULE:
        found.append(f"{path}: {text.count(chr(10))} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n = (node.end_lineno or node.lineno) - node.lineno + 1
            if n > MAX_FUNCTION:
                found.append(f"{path}:{node.lineno}: {node.name} has {n} lines")
    return found


if __name__ == "__main__":
    roots = ("napari_seedlab", "tests", "benchmarks", "scripts")
    problems = [p for root in roots for f in sorted(Path(root).rglob("*.py")) for p in too_long(f)]
    print("\n".join(problems) or "sizes: all within limits")
    sys.exit(bool(problems))
