"""The Synthetic Visual Reasoning Test (Fleuret et al. 2011, PNAS 108(43):17621): random closed contours under a rule.

Written from the rules and constants of the test, independently of any published program.
"""
