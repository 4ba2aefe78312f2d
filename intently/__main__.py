"""`intently` and `python -m intently` are the command line."""

from intently.huge_pages import restart_with_huge_pages


def main() -> None:
    """Run the command line in memory of huge pages."""
    restart_with_huge_pages()
    from intently.cli import main as run  # after the restart, as it takes a second to import

    run()


if __name__ == "__main__":
    main()
