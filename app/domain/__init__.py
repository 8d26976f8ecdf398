"""The rules of the house, pure: standard library only; the clock and randomness are arguments."""
