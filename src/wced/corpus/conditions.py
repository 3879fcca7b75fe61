"""Columns and conditions that say yes or no of every cell, and nothing else."""

import ast
import re

import numpy as np
import pandas as pd

from wced.corpus.terms import is_unknown
from wced.errors import WcedError, one_line

YES, NO = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
"""Words, in small letters."""


def truth(values: pd.Series, what: str, *, complete: bool = False) -> pd.Series:
    """Return a column as yes or no (`boolean`, missing where it is); whatever its type, words and 1 and 0 are read.

    Parameters
    ----------
    values
        Booleans, numbers, text or categories.
    what
        Begin of the sentence about a value that is neither.
    complete
        Whether a missing value is an error, too.

    Raises
    ------
    WcedError
        If a value is neither; the sentence names the one of most cells.
    """
    codes, found = pd.factorize(values, use_na_sentinel=False)
    words = [str(value).strip() for value in found]
    of_word = [None if is_unknown(word) else word.lower() in YES for word in words]
    wrong = [word.lower() not in YES + NO and (complete or not is_unknown(word)) for word in words]
    if any(wrong):
        cells = np.bincount(codes) * wrong
        most = int(np.argmax(cells))
        raise WcedError(f"{what}: {words[most]!r} is neither True nor False ({cells[most]} of {len(values)} cells)")
    return pd.Series(pd.array(of_word, dtype="boolean")[codes], index=values.index)


def kept_rows(obs: pd.DataFrame, keep: str | None, where: str) -> np.ndarray:
    """Return the numbers of the cells for which a condition on columns of obs holds; of all where it is None.

    The condition is in the language of pandas' `DataFrame.query`. It, and each part that `and`, `or` and `not` (`&`,
    `|`, `~`) join, has to say yes or no, as `truth` reads it. Where it says neither (missing), the cell is not kept.

    Raises
    ------
    WcedError
        If the condition fails, or says neither of a cell that has a value.
    """
    if keep is None:
        return np.arange(len(obs))
    try:
        holds = _Condition(obs, keep, where).holds()
    except WcedError:
        raise
    except Exception as failure:  # the condition may be anything, and so may its failure
        columns = ", ".join(map(str, obs.columns)) or "none"
        text = f"{one_line(failure)}; its columns are {columns}"
        if isinstance(failure, SyntaxError):
            text = f"it cannot be read at character {failure.offset}; equal is written == and names with spaces in ``"
        raise WcedError(f"{where}: the condition {keep!r} on obs fails: {text}") from None
    return np.flatnonzero(holds.fillna(False).to_numpy(bool))


class _Condition:
    """A condition, taken apart where it joins others."""

    def __init__(self, obs: pd.DataFrame, keep: str, where: str) -> None:
        self.obs, self.where = obs, f"{where}: the condition {keep!r} on obs"
        # Python does not know names in backticks, and pandas joins by & and | as weakly as by `and` and `or`.
        self.quoted = re.findall(r"`[^`]+`", keep)
        parts = re.split(r"(`[^`]+`|'[^']*'|\"[^\"]*\")", keep)
        names = iter(range(len(self.quoted)))
        for i, part in enumerate(parts):
            if part.startswith("`"):
                parts[i] = f"_quoted_{next(names)}_"
            elif not part.startswith(("'", '"')):
                parts[i] = part.replace("&", " and ").replace("|", " or ")
        self.tree = ast.parse("".join(parts).strip(), mode="eval").body

    def holds(self) -> pd.Series:
        """Return whether it holds for each cell; missing where it says neither."""
        return self._of(self.tree)

    def _of(self, node: ast.expr) -> pd.Series:
        match node:
            case ast.BoolOp(op, values):
                first, *others = map(self._of, values)
                for other in others:
                    first = first & other if isinstance(op, ast.And) else first | other
                return first
            case ast.UnaryOp(ast.Not() | ast.Invert(), operand):
                return ~self._of(operand)
            case ast.Compare(left, [ast.Eq() | ast.NotEq() as op], [ast.Constant(bool(wanted))]):
                return self._of(left) == (wanted == isinstance(op, ast.Eq))
            case ast.Compare(left, [ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()], [right]):
                self._check_kinds(left, right)
        values = self._values(node)
        values = values if np.ndim(values) else np.full(len(self.obs), values)
        return truth(pd.Series(values).reset_index(drop=True), f"{self.where}, {self._text(node)}")

    def _check_kinds(self, left: ast.expr, right: ast.expr) -> None:
        """Raise WcedError where text is compared with numbers, which are never equal whatever they say."""
        wanted = [node.value for node in getattr(right, "elts", [right]) if isinstance(node, ast.Constant)]
        values = self._values(left) if wanted else None
        if isinstance(values, pd.Series) and values.notna().any():
            categorical = isinstance(values.dtype, pd.CategoricalDtype)
            text = pd.api.types.infer_dtype(values.cat.categories if categorical else values) == "string"
            if any(isinstance(value, str) != text for value in wanted):
                there, other = ("text", "numbers without quotes") if text else ("no text", "words in quotes")
                raise WcedError(f"{self.where}: {self._text(left)} is {there}, and is compared with {other}")

    def _values(self, node: ast.expr) -> object:
        return self.obs.eval(self._text(node), engine="python")

    def _text(self, node: ast.expr) -> str:
        return re.sub(r"_quoted_(\d+)_", lambda found: self.quoted[int(found[1])], ast.unparse(node))
