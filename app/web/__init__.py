"""The page for exploring the API in a browser: GraphiQL, made for this schema. Knows no data.

`source` is the page's own npm package; a build makes `static` of it, which is never committed.
"""
