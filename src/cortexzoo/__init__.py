"""The namespace of cortexzoo: `cortexzoo.specs`, `cortexzoo.zoo` and `cortexzoo.harness`.

The three packages lie at the root of the repository and are linked here, so that one import path serves editable
installations, wheels and every tool that reads the sources.
"""

__version__ = "0.1.0"
