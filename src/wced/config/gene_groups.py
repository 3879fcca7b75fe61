"""Gene groups that are recognised by the symbols of their genes."""

PATTERNS = {
    "mitochondrial": r"MT-.+",
    "ribosomal": r"M?RP[LS]\d+[ABCXYL]?\d?L?\d?|RPLP\d|RPSA|RACK1|FAU|UBA52",
    "haemoglobin": r"HB[ABDEMQZ]\d?|HBG\d",
}
"""Genes in mitochondrial DNA, of cytosolic and mitochondrial ribosomes, and of haemoglobin chains. Their share of the
counts shows the sample (dying cells, free RNA, blood) and the protocol more than the cell type."""
