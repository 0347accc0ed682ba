"""`python -m cortexzoo`: the command line."""

from cortexzoo.harness.cli import program

program()
