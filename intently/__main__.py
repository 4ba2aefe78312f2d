"""`python -m intently` is the command line."""

from intently.cli import main

if __name__ == "__main__":
    main()
