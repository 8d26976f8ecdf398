"""The only HTTP client: sends single requests, and connects to checked addresses only."""
