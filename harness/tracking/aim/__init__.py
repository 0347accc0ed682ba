"""Aim: the sink, the way back, and its pages. The only room that imports aim."""

from cortexzoo.harness.tracking.aim.sink import open_sink

__all__ = ["open_sink"]
