"""`python -m splitdata_cli`: the command line where its program is not on the path."""

import sys

# Python puts the working folder first, where a file of any name may lie; the installed program does not have it.
if not sys.flags.safe_path:
    del sys.path[0]

from splitdata_cli.main import main  # the line above comes first

if __name__ == "__main__":
    main()
