"""The demo workspace: one documented example, every state once, a month of posts, posts to send. No SQL."""

from app.demo.loading import DEMO_WORKSPACE_ID, DemoRefused, load_demo
from app.demo.sending import send_demo_posts

__all__ = ["DEMO_WORKSPACE_ID", "DemoRefused", "load_demo", "send_demo_posts"]
