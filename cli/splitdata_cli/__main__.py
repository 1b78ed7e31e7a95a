"""`python -m splitdata_cli`: the command line where its program is not on the path."""

from splitdata_cli.main import main

if __name__ == "__main__":
    main()
