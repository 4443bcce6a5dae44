"""`python -m waypost_client` is the `waypost` command."""

import sys

from .cli import main

sys.exit(main())
