"""`intently` and `python -m intently` are the command line."""

from intently.process import prepare_process


def main() -> None:
    """Run the command line."""
    prepare_process()
    from intently.cli import main as run  # now, as it imports NumPy, and takes a second

    run()


if __name__ == "__main__":
    main()
