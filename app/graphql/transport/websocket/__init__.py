"""GraphQL over WebSockets, by the protocol graphql-transport-ws. What runs on them comes in by the door.

handshake  which WebSockets are accepted
messages   what is said in either direction
operation  what is answered to one operation
socket     one WebSocket: its operations and its end
terms      what all WebSockets have in common
"""
