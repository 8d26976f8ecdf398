"""The demo workspace: one documented example, every state once, and a month of posts. No SQL."""

from app.services.demo.loading import DEMO_WORKSPACE_ID, DemoRefused, load_demo

__all__ = ["DEMO_WORKSPACE_ID", "DemoRefused", "load_demo"]
