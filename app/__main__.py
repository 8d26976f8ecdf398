"""`python -m app` is the command `post-results`."""

from app.cli import main

if __name__ == "__main__":
    main()
