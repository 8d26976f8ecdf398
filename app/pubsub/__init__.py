"""Wake-ups: hints that there may be something new. What is new stands in the database, and is read there."""
