"""HTTP: requests and their responses, routes, timeouts, CORS, rate limits, and helpers of all endpoints.

`HttpApplication` runs each request:

    HttpApplication          # request id, answers to exceptions, record for the log and the metrics
        RequestTimeouts      # cancels the handler after the timeout or a disconnect
            Cors             # answers preflights, which have no API key; adds headers to all other responses
            Router           # finds the handler of the path and method
                Handler      # HttpRequest in, Response out

An `HttpRequest` holds everything that is known of a request: handlers set its API, key and rate limit, which
are sent in the headers of the response and logged at its end.
Nothing here formats errors: `render(request, error)` is passed in.
"""
