"""The Bluesky adapter: publishes posts on any server of the AT Protocol, with an app password."""
