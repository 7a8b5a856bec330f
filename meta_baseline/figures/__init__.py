"""Results drawn: one file per analysis, ``draw_*(result) -> Figure``; nothing here computes a number."""
