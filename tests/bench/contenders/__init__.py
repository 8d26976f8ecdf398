"""Python servers for comparison: an ordinary Strawberry server and two upper limits."""
