"""`python -m supervisor.cli`: the same as `orlop`."""

import sys

from supervisor.cli.main import main

sys.exit(main())
