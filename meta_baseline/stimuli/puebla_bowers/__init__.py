"""Same-different tasks of Puebla and Bowers (2022, Journal of Vision 22(10):11): 1 = same, 0 = different.

Shared rule: two objects at random places on a white 128 px canvas; an image is thrown away and everything drawn again
unless it has exactly two external contours.
"""
