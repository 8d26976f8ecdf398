"""Pages for browsers: the start page and GraphiQL.

`source` is the npm package of GraphiQL; its build writes `static`, which is never committed.
"""
