"""What a gene does (family) and how it is regulated (program), from databases and before any model output."""
