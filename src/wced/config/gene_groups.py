"""Gene groups that are known by the symbols of their genes."""

PATTERNS = {
    "mitochondrial": r"MT-.+",
    "ribosomal": r"M?RP[LS]\d+[ABCXYL]?\d?L?\d?|RPLP\d|RPSA|RACK1|FAU|UBA52",
    "haemoglobin": r"HB[ABDEMQZ]\d?|HBG\d",
}
"""Groups that need no table, by the symbols of their genes: encoded by mitochondrial DNA; proteins of the cytosolic and
the mitochondrial ribosome; chains of haemoglobin. How much of a cell's counts falls on them says more of the sample
(dying cells, free RNA of broken ones, blood) and of the protocol than of the cell's type."""
