"""Answers that stay open, over WebSockets and as server-sent events. What can be followed is elsewhere.

stream        the answers to one subscription, whoever they go to
answers       each made once for all who ask the same
documents     what those who follow keep in memory
event_stream  a stream as an HTTP response (GraphQL over SSE, distinct connections mode)
handshake     which WebSockets are accepted
messages      the messages of graphql-transport-ws, read and written
socket        one WebSocket: its operations and its end
times         how long those who stay may be silent, deaf or unknown
"""
