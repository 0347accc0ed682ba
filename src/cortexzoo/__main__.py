"""`python -m cortexzoo`: the command line."""

import sys

from cortexzoo.harness.cli import main

sys.exit(main())
