"""What our server is measured against in Python: an ordinary Strawberry server, and two limits. No tests."""
