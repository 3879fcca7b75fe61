"""Statistics over the tables of scores: which models differ, by how much, and their figures."""
