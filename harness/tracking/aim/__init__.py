"""Aim: the sink, the way back, and its pages. The only room that imports aim."""
