"""Choosing whole datasets or donors for validation: an integer program, and a greedy choice where it has no answer."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, milp

_PRECISION = 0.01
"""How near to the best objective a choice must be proven to be, where a cell type is worth 1."""

_NODES = 1
"""Status of a search that ended at its limit of nodes (`scipy.optimize.milp`)."""


@dataclass(frozen=True)
class Choice:
    """The units that are validated on, and how they were chosen."""

    units: np.ndarray
    """Indices of the chosen units, ascending."""
    types_at_most: int
    """Cell types that any choice could bring to validation while it keeps the promise and the share."""
    method: str
    """`optimal`, `within N types of the optimum`, `greedy`, or why nothing better could be had."""


def choose_units(
    counts_uc: np.ndarray,
    size_u: np.ndarray,
    train_c: np.ndarray,
    seen_c: np.ndarray,
    target: float,
    margin: float,
    seed: int,
    max_nodes: int = 10_000,
) -> Choice:
    r"""Choose the units (datasets or donors) that are validated on; at least one is.

    With :math:`x_u` for "unit u is validated on" and :math:`y_c` for "validation has type c", find

    .. math:: \max \sum_c y_c - d / (2\,\mathrm{margin}), \quad y_c \le \sum_{u \ni c} x_u, \quad
              \sum_{u \ni c} x_u \le n_c - 1, \quad d = \left|\sum_u s_u x_u - \mathrm{target}\right| \le
              \mathrm{margin}

    where :math:`n_c` units have the type (the second inequality holds where train has it from these units alone) and
    :math:`s_u` is a unit's number of cells. So train keeps every type; then validation has as many types as it can;
    then its size is as near to the target as it can be. Where no choice is within the margin, the smallest distance
    is found first and added to the margin. Where every choice that keeps the promise is further from the target than
    no choice at all, it is not kept: the unit goes for which the distance and the cells of types that train loses add
    up to the fewest cells. HiGHS (through SciPy) solves the program; it is deterministic, and ends after `max_nodes`.
    The seed decides among equals.

    Parameters
    ----------
    counts_uc, size_u
        Cells of each unit and cell type, and of each unit, which include those of unknown type.
    train_c, seen_c
        Cells of each type in train while nothing is chosen, and types that validation has already; both also from
        elsewhere.
    target, margin
        Cells wanted for validation, and how many more or fewer may be chosen to bring more types to it.
    """
    has_uc = counts_uc > 0
    units_c = has_uc.sum(axis=0)
    # Only types of which no cell is elsewhere can be lost; the only unit of such a type has to stay.
    kept_here_c = (units_c > 0) & (train_c == counts_uc.sum(axis=0))
    free = np.flatnonzero((size_u > 0) & ~has_uc[:, kept_here_c & (units_c == 1)].any(axis=1))
    rng = np.random.default_rng([seed, 2])
    free = rng.permutation(free)  # the solver takes the first of equally good choices
    # A type of a unit that is not free stays in train anyway.
    bound_c = kept_here_c & (units_c == has_uc[free].sum(axis=0))
    program = _Program(has_uc[free], size_u[free], bound_c, seen_c, target, max_nodes)
    margin = max(margin, 1.0)
    result = program.most_types(margin)
    if result.x is None and result.status != _NODES:
        distance = program.smallest_distance()
        if distance is None:
            nearest = _least_loss(counts_uc, size_u, train_c, target, rng)
            return Choice(nearest, 0, "nothing near the share keeps the promise: the least loss")
        margin += distance
        result = program.most_types(margin)
    at_most = program.n_types
    if result.mip_dual_bound is not None and np.isfinite(result.mip_dual_bound):
        at_most = min(at_most, int(np.floor(-result.mip_dual_bound + 0.5 + 1e-6)))  # the distance costs up to 0.5
    greedy = np.array([], np.int64) if result.status == 0 else program.greedy(margin)
    solved = np.array([], np.int64) if result.x is None else np.flatnonzero(result.x[: len(free)] > 0.5)
    best = max((solved, greedy), key=program.worth)
    if not len(best):
        nearest = _least_loss(counts_uc, size_u, train_c, target, rng)
        return Choice(nearest, at_most, "search ended without a choice: the least loss")
    missing = at_most - program.types(best)
    method = "greedy" if best is greedy else "search ended"
    method = "optimal" if missing == 0 else f"{method}, within {missing} types of the optimum"
    return Choice(np.sort(free[best]), at_most, method)


class _Program:
    """The integer program over the free units; variables are x (units), y (types), d (distance over its limit)."""

    def __init__(
        self, has_uc: np.ndarray, size_u: np.ndarray, bound_c: np.ndarray, seen_c: np.ndarray, target: float, nodes: int
    ) -> None:
        self.has_uc, self.size_u, self.target, self.nodes = has_uc, size_u.astype(float), target, nodes
        self.new_c = has_uc.any(axis=0) & ~seen_c
        self.bound_uc = has_uc[:, bound_c]
        self.most_c = self.bound_uc.sum(axis=0) - 1
        self.n_units, self.n_types = len(size_u), int(self.new_c.sum())

    def _solve(self, cost: np.ndarray, limit: float, gap: float) -> OptimizeResult:
        n, c = self.n_units, self.n_types
        new_cu = sparse.csr_array(self.has_uc[:, self.new_c].T.astype(float))
        bound_cu = sparse.csr_array(self.bound_uc.T.astype(float))
        size = sparse.csr_array(self.size_u[None] / limit)
        one, zeros = sparse.csr_array([[1.0]]), sparse.csr_array
        rows = sparse.block_array(
            [
                [new_cu, -sparse.eye_array(c), zeros((c, 1))],
                [bound_cu, zeros((bound_cu.shape[0], c)), zeros((bound_cu.shape[0], 1))],
                [size, zeros((1, c)), -one],
                [size, zeros((1, c)), one],
                [sparse.csr_array(np.ones((1, n))), zeros((1, c)), zeros((1, 1))],
            ],
            format="csr",
        )
        target, none = self.target / limit, np.full(len(self.most_c), -np.inf)
        low = np.concatenate([np.zeros(c), none, [-np.inf, target, 1.0]])
        high = np.concatenate([np.full(c, np.inf), self.most_c, [target, np.inf, np.inf]])
        whole = np.concatenate([np.ones(n), np.zeros(c + 1)])
        options = {"node_limit": self.nodes, "mip_rel_gap": gap}
        return milp(
            cost, integrality=whole, bounds=Bounds(0, 1), constraints=LinearConstraint(rows, low, high), options=options
        )

    def most_types(self, margin: float) -> OptimizeResult:
        """Maximise types, then nearness, within the margin."""
        cost = np.concatenate([np.zeros(self.n_units), -np.ones(self.n_types), [0.5]])
        return self._solve(cost, margin, _PRECISION / max(self.n_types, 1))

    def smallest_distance(self) -> float | None:
        """Return the smallest distance to the target; None if no choice is nearer than choosing nothing."""
        cost = np.concatenate([np.zeros(self.n_units + self.n_types), [1.0]])
        x = self._solve(cost, self.target, 1e-4).x
        return None if x is None else abs(self.size_u[x[: self.n_units] > 0.5].sum() - self.target)

    def types(self, chosen: np.ndarray) -> int:
        """Return how many types a choice brings to validation."""
        return int(self.has_uc[chosen][:, self.new_c].any(axis=0).sum())

    def worth(self, chosen: np.ndarray) -> tuple[int, float]:
        """Return types and nearness of a choice, so that the better one is larger."""
        return (self.types(chosen) if len(chosen) else -1), -abs(self.size_u[chosen].sum() - self.target)

    def greedy(self, margin: float) -> np.ndarray:
        """Choose one after the other the unit that brings the most types; nothing if that misses the share."""
        chosen: list[int] = []
        seen_c, left_c, size = ~self.new_c, self.most_c.copy(), 0.0
        while size < self.target:
            fits = (size + self.size_u <= self.target + margin) & ~self.bound_uc[:, left_c == 0].any(axis=1)
            fits[chosen] = False
            if not fits.any():
                break
            # Of units that bring as many types the largest, so that few units fill the share.
            gain = (self.has_uc & ~seen_c).sum(axis=1) + self.size_u / self.size_u.sum()
            best = int(np.argmax(np.where(fits, gain, -1.0)))
            chosen.append(best)
            left_c -= self.bound_uc[best]
            seen_c = seen_c | self.has_uc[best]
            size += self.size_u[best]
        return np.array(chosen if abs(size - self.target) <= margin else [], np.int64)


def _least_loss(
    counts_uc: np.ndarray, size_u: np.ndarray, train_c: np.ndarray, target: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the unit for which the distance to the target and the cells of lost types add up to the fewest."""
    lost_u = np.where(counts_uc == train_c, counts_uc, 0).sum(axis=1)
    cost_u = np.where(size_u > 0, np.abs(size_u - target) + lost_u, np.inf)
    return np.array([np.lexsort((rng.random(len(size_u)), cost_u))[0]])
