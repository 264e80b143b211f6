"""Numbers that know where they come from: inputs with a source, and formulas over other numbers.

A formula is computed from the very text that is printed, so the two cannot differ.
"""

import ast
import math
import operator
from dataclasses import dataclass, field
from typing import Dict, Iterator, Optional

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
FUNCTIONS = {"max": max, "min": min, "ceil": math.ceil, "round": round}


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        key: its name in formulas, such as `disc.step_s`; the last part ends in the unit.
        unit: for the reader.
        text: what it is.
        formula: over the keys of other figures; None for an input.
        source: of an input: where the value is from.
        inputs: key -> value of what the formula names.
    """

    key: str
    value: float
    unit: str
    text: str
    formula: Optional[str] = None
    source: str = ""
    inputs: Dict[str, float] = field(default_factory=dict)


class Sheet:
    """Figures by key, in the order in which they were made.

    Args:
        parent: sheet whose figures may be named here too.
    """

    def __init__(self, parent: Optional["Sheet"] = None):
        self.parent = parent
        self.figures: Dict[str, Figure] = {}

    def __getitem__(self, key: str) -> float:
        return self.figure(key).value

    def __contains__(self, key: str) -> bool:
        return key in self.figures or (self.parent is not None and key in self.parent)

    def __iter__(self) -> Iterator[Figure]:
        """The figures, the parent's first."""
        if self.parent is not None:
            yield from self.parent
        yield from self.figures.values()

    def figure(self, key: str) -> Figure:
        """One figure; KeyError if nobody made it."""
        if key in self.figures:
            return self.figures[key]
        if self.parent is None:
            raise KeyError(key)
        return self.parent.figure(key)

    def given(self, key: str, value: float, unit: str, text: str, source: str) -> float:
        """Note an input; returns its value."""
        return self._add(Figure(key, value, unit, text, source=source))

    def let(self, key: str, formula: str, unit: str, text: str) -> float:
        """Compute a formula over figures that are there; returns the result.

        Raises:
            KeyError: the formula names a figure that nobody made.
            ValueError: it holds anything but numbers, keys, + - * / and FUNCTIONS.
        """
        inputs: Dict[str, float] = {}

        def look_up(name: str) -> float:
            inputs[name] = self[name]
            return inputs[name]

        value = evaluate(formula, look_up)
        return self._add(Figure(key, value, unit, text, formula, inputs=inputs))

    def _add(self, figure: Figure) -> float:
        if figure.key in self:
            raise ValueError(f"the figure {figure.key} is made twice")
        self.figures[figure.key] = figure
        return figure.value


def evaluate(formula: str, look_up) -> float:
    """The value of an arithmetic formula.

    Args:
        look_up: name, dots included -> value.

    Raises:
        ValueError: the formula holds anything but numbers, names, + - * / and FUNCTIONS.
    """

    def value_of(node: ast.AST) -> float:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, (ast.Name, ast.Attribute)):
            return look_up(ast.unparse(node))
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value_of(node.left), value_of(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value_of(node.operand))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FUNCTIONS:
            return FUNCTIONS[ast.unparse(node.func)](*map(value_of, node.args))
        raise ValueError(f"{formula}: {ast.unparse(node)} is no arithmetic")

    return value_of(ast.parse(formula, mode="eval").body)
