"""GraphQL over WebSockets, by the protocol graphql-transport-ws.

connection  handshake, authentication, operations, timeouts and closing
operation   executes one operation and sends its messages
messages    parses and formats protocol messages
"""
