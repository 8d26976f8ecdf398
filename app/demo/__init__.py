"""The demo workspace: one month of posts, a post in every state, and posts for the demo's worker."""

from app.demo.loading import DemoRefused, load_demo, send_demo_posts
from app.domain.ids import DEMO_WORKSPACE_ID

__all__ = ["DEMO_WORKSPACE_ID", "DemoRefused", "load_demo", "send_demo_posts"]
