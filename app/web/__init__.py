"""Pages for browsers: the start page, GraphiQL and the documentation.

`source` is the npm package of GraphiQL; its build writes `static`, which is never committed.
"""
