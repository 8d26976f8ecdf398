"""Answers that stay open, one for each change that is told. What can be followed is in `subscription`.

stream        the answers to one subscription, whoever they go to
answers       each made once for all who ask the same
documents     what those who follow keep in memory
event_stream  a stream as an HTTP response (GraphQL over SSE, distinct connections mode)
times         how long those who stay may be silent, deaf or unknown
"""
