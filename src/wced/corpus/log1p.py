r"""Counts from their log1p-normalised values.

A cell of total T has :math:`x_g = \ln(1 + 10^4 c_g / T)`, so :math:`y_g = e^{x_g} - 1` is a whole multiple of
:math:`s = 10^4 / T`, whichever genes are left of the cell. The smallest :math:`y` is :math:`k s` for some whole k, most
often 1; the first k for which all :math:`k y_g / \min_g y_g` are whole gives the counts up to a common factor, of which
the first is taken that makes T whole too. (A common factor that is left changes no normalised value.)
"""

import numpy as np
from scipy import sparse

TARGET = 1e4
"""Counts per cell after normalisation."""

MOST, FEW = 10_000, 20
"""The smallest count of a cell is taken for at most MOST / its number of genes, or FEW: of many genes some have one
or two counts. A large number fits by chance, too, so it is looked for only where there are few genes."""

MOST_FACTOR = 100
"""Largest common factor of a cell's counts that is looked for."""

ROUNDINGS = 4
"""Rounding errors of a value: total, division and logarithm each add one or two."""


def counts_of(x_ng: sparse.csr_matrix) -> tuple[sparse.csr_matrix, int | None]:
    """Return the counts behind log1p-normalised values, and the first row that has none (None if all have).

    The values are log1p of counts per 10,000 of all genes that the cell once had, cells × genes; finite and none
    negative, as precise as float32, or all of them float16. Counts are whole numbers in float64.
    """
    counts_ng = x_ng.astype(np.float64)
    counts_ng.eliminate_zeros()
    x, filled_n = counts_ng.data, np.diff(counts_ng.indptr) > 0
    if not len(x):
        return counts_ng, None
    cell = np.repeat(np.cumsum(filled_n) - 1, np.diff(counts_ng.indptr))
    y, starts = np.expm1(x), counts_ng.indptr[:-1][filled_n]
    lowest_n = np.minimum.reduceat(y, starts)
    ratio = y / lowest_n[cell]
    # Relative errors of y; that of 1 + y is that of x times x. The ratio has those of two values.
    eps = 2.0**-11 if np.array_equal(x, x.astype(np.float16)) else 2.0**-24
    error = ROUNDINGS * eps * (1 + x * (1 + y) / y)
    error_n = np.minimum.reduceat(error, starts)  # of the smallest value
    error += error_n[cell]
    k_n, left = np.zeros(len(starts), np.int64), np.ones(len(y), bool)
    most_n = np.maximum(MOST // np.bincount(cell), FEW)
    for k in range(1, most_n.max() + 1):
        multiple = k * ratio[left]
        wrong = np.abs(multiple - np.rint(multiple)) > multiple * error[left]
        open_n = np.bincount(cell[left][wrong], minlength=len(starts)) > 0
        k_n[(k_n == 0) & (most_n >= k) & ~open_n] = k
        left = (open_n & (most_n > k))[cell]
        if not left.any():
            break
    if (k_n == 0).any():
        return counts_ng, int(np.flatnonzero(filled_n)[(k_n == 0).argmax()])
    factor_n = np.ones(len(starts), np.int64)
    for factor in range(MOST_FACTOR, 0, -1):
        total_n = factor * TARGET * k_n / lowest_n
        whole_n = np.abs(total_n - np.rint(total_n)) <= total_n * error_n
        factor_n[whole_n & (total_n * error_n < 0.1)] = factor  # a larger error tells nothing
    counts_ng.data = np.rint(ratio * (k_n * factor_n)[cell])
    return counts_ng, None
