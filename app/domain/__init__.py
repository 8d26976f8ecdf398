"""Pure domain model and rules: standard library only; clock, ids and randomness are arguments."""
