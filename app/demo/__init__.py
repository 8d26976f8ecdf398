"""The demo workspace: one month of posts, a post in every state, and posts for the demo's worker."""

from app.demo.loading import DemoRefused, load_demo, send_demo_posts
from app.demo.scenarios import EXAMPLE_POST_ID
from app.demo.secrets_key import ensure_secrets_key_file
from app.domain.ids import DEMO_WORKSPACE_ID

__all__ = [
    "DEMO_WORKSPACE_ID",
    "EXAMPLE_POST_ID",
    "DemoRefused",
    "ensure_secrets_key_file",
    "load_demo",
    "send_demo_posts",
]
