"""Chinese characters cut into words. The dictionary is loaded with the first of them: it takes a tenth of a second."""


def cut(han: str) -> list[str]:
    """Return the words of Chinese characters, side by side."""
    import rjieba

    words: list[str] = rjieba.cut(han)
    return words


def cut_for_search(han: str) -> list[str]:
    """Return the words of Chinese characters, and the shorter words within them."""
    import rjieba

    words: list[str] = rjieba.cut_for_search(han)
    return words
