"""``python -m mitoscale``: the command line."""

from mitoscale.cli import main

if __name__ == "__main__":
    main()
