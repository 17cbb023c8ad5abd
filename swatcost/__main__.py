"""`python -m swatcost`."""

import sys

from swatcost.cli import main

sys.exit(main())
