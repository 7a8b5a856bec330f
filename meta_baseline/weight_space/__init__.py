"""The parts of the weight analysis: one layer's statistics, the relations between layers, and what is said of them."""
