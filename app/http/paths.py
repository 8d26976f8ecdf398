"""URL paths of the service, below ROOT_PATH."""

GRAPHQL_PATH = "/graphql"
REST_PATH = "/v1"
GRAPHIQL_PATH = "/graphiql"
DOCS_PATH = "/docs"
LIVENESS_PATH = "/livez"
READINESS_PATH = "/readyz"
METRICS_PATH = "/metrics"
