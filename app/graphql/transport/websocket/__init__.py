"""GraphQL over WebSockets, by the protocol graphql-transport-ws.

handshake   checks origin and subprotocol, and accepts WebSockets
connection  one WebSocket: authentication, operations, timeouts and closing
operation   executes one operation and sends its messages
messages    parses and formats protocol messages
"""
