"""`python -m supervisor.daemon`: what `orlop daemon` becomes."""

import sys

from supervisor.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
