"""The edge that all doors stand behind: what every HTTP request has in common. No doors, no data.

Everything here is plain ASGI and is composed from the outside in:

    Requests(              # the id, the log line, the metrics, X-Request-Id and X-RateLimit-*
        with_cors(         # preflights end here: no key, no rate limit, but an id and a log line
            LastResort(    # inside CORS, so that a browser may read errors and 429s too
                Deadline(  # gives up after the deadline, or when the client goes away
                    router
                ),
            ),
            origins,
        ),
    )

The router has to let exceptions out; a Starlette application answers them first, in plain text,
unless it has a handler for Exception. Layers in between must pass on the same `scope`, not a copy:
the route that the router writes into it, or who answers before it notes in the state, is logged and
counted here.
How an error looks is not known here: LastResort and Deadline are given `render(scope, error)`.
What the layers and the doors tell each other stands in `scope["state"]`, see `state`.
"""
