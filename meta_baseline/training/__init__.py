"""Training a pair of networks that differ in one thing only."""
