"""Properties have no deadline: how fast a busy machine checks an example says nothing."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
