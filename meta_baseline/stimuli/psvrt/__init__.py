"""Parametric SVRT: two patches of random bits (Kim, Ricci and Serre 2018, Interface Focus 8:20180011)."""
