"""Columns and conditions that are true or false for every cell, or missing."""

import ast
import re

import numpy as np
import pandas as pd

from wced.contracts import is_unknown
from wced.errors import WcedError, one_line

YES, NO = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
"""Words, in small letters."""


def truth(values: pd.Series, what: str, *, complete: bool = False) -> pd.Series:
    """Return a column of booleans, numbers, text or categories as `boolean`; words for unknown are missing.

    Raises WcedError if a value is neither true nor false, or missing and `complete`; the sentence begins with `what`
    and names the value of most cells.
    """
    codes, values_v = pd.factorize(values, use_na_sentinel=False)
    words = [str(value).strip() for value in values_v]
    truth_v = [None if is_unknown(word) else word.lower() in YES for word in words]
    wrong_v = [word.lower() not in YES + NO and (complete or not is_unknown(word)) for word in words]
    if any(wrong_v):
        cells_v = np.bincount(codes) * wrong_v
        most = int(np.argmax(cells_v))
        raise WcedError(f"{what}: {words[most]!r} is neither True nor False ({cells_v[most]} of {len(values)} cells)")
    return pd.Series(pd.array(truth_v, dtype="boolean")[codes], index=values.index)


def kept_rows(obs: pd.DataFrame, keep: str | None, where: str) -> np.ndarray:
    """Return the rows of the cells for which a condition on columns of obs is true; all rows where it is None.

    The condition is in the language of pandas' `DataFrame.query`. It, and each part that `and`, `or` and `not` (`&`,
    `|`, `~`) join, has to be true or false, as `truth` reads it. Where it is missing, the cell is not kept. Raises
    WcedError if the condition fails, or is neither true nor false for a cell that has a value.
    """
    if keep is None:
        return np.arange(len(obs))
    try:
        return np.flatnonzero(_Condition(obs, keep, where).holds().fillna(False).to_numpy(bool))
    except WcedError:
        raise
    except Exception as failure:  # the condition may be anything, and so may its failure
        text = f"{one_line(failure)}; its columns are {', '.join(map(str, obs.columns)) or 'none'}"
        if isinstance(failure, SyntaxError):
            text = f"it cannot be read at character {failure.offset}; equal is written == and names with spaces in ``"
        raise WcedError(f"{where}: the condition {keep!r} on obs fails: {text}") from None


class _Condition:
    """A condition, taken apart where it joins others."""

    def __init__(self, obs: pd.DataFrame, keep: str, where: str) -> None:
        self.obs, self.where = obs, f"{where}: the condition {keep!r} on obs"
        # Python does not know names in backticks, and pandas joins by & and | as weakly as by `and` and `or`.
        self.quoted: list[str] = []
        parts = re.split(r"(`[^`]+`|'[^']*'|\"[^\"]*\")", keep)
        for i, part in enumerate(parts):
            if part.startswith("`"):
                parts[i] = f"_quoted_{len(self.quoted)}_"
                self.quoted.append(part)
            elif not part.startswith(("'", '"')):
                parts[i] = part.replace("&", " and ").replace("|", " or ")
        self.tree = ast.parse("".join(parts).strip(), mode="eval").body

    def holds(self, node: ast.expr | None = None) -> pd.Series:
        """Return whether the condition, or a part of it, is true for each cell; missing where it is neither."""
        node = self.tree if node is None else node
        match node:
            case ast.BoolOp(op, values):
                first, *others = map(self.holds, values)
                for other in others:
                    first = first & other if isinstance(op, ast.And) else first | other
                return first
            case ast.UnaryOp(ast.Not() | ast.Invert(), operand):
                return ~self.holds(operand)
            case ast.Compare(left, [ast.Eq() | ast.NotEq() as op], [ast.Constant(bool(value))]):
                return self.holds(left) == (value == isinstance(op, ast.Eq))
            case ast.Compare(left, [ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()], [right]):
                self._check_kinds(left, right)
        values = self._values(node)
        values = values if np.ndim(values) else np.full(len(self.obs), values)
        return truth(pd.Series(values).reset_index(drop=True), f"{self.where}, {self._text(node)}")

    def _check_kinds(self, left: ast.expr, right: ast.expr) -> None:
        """Raise WcedError where text is compared with numbers, which are never equal."""
        constants = [node.value for node in getattr(right, "elts", [right]) if isinstance(node, ast.Constant)]
        values = self._values(left) if constants else None
        if isinstance(values, pd.Series) and values.notna().any():
            categorical = isinstance(values.dtype, pd.CategoricalDtype)
            text = pd.api.types.infer_dtype(values.cat.categories if categorical else values) == "string"
            if any(isinstance(value, str) != text for value in constants):
                kind, other = ("text", "numbers without quotes") if text else ("no text", "words in quotes")
                raise WcedError(f"{self.where}: {self._text(left)} is {kind}, and is compared with {other}")

    def _values(self, node: ast.expr) -> object:
        return self.obs.eval(self._text(node), engine="python")

    def _text(self, node: ast.expr) -> str:
        return re.sub(r"_quoted_(\d+)_", lambda match: self.quoted[int(match[1])], ast.unparse(node))
