"""Entry point of the command `post-results`, and of `python -m app`."""

import gc

# Importing creates 250,000 objects that live until the exit. Collections that search them for garbage
# take a tenth of the time of a start.
gc.disable()
from app.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    main()
