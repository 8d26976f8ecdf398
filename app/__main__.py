"""Entry point of `python -m app`, the same as the command `post-results`."""

from app.cli import main

if __name__ == "__main__":
    main()
