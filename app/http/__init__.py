"""ASGI middleware shared by all endpoints, and helpers for requests and responses.

The middleware is composed from the outside in:

    RootPathMiddleware(             # the part of the path below which a proxy serves the application
        RequestLoggingMiddleware(   # request id, log line, metrics, X-Request-Id and X-RateLimit-*
            add_cors(               # answers preflights: no API key, no rate limit, but logged
                ErrorMiddleware(    # inside CORS, so that a browser may read error responses too
                    RequestTimeoutMiddleware(   # ends work after the timeout or a disconnect
                        router
                    ),
                ),
                origins,
            ),
        ),
    )

The router must let exceptions through; a Starlette application does so only with a handler for
Exception, and answers them in plain text otherwise. Middleware in between must pass on the same
`scope`, not a copy: logging reads the route that the router writes into it.
Middleware does not format errors: `render(scope, error)` is passed in.
Data shared along the request is in `scope["state"]`, see `request_scope`.
"""
