"""Adapter for servers with the Mastodon API, such as Mastodon and snac."""
