"""Webhooks: event types, payloads, signatures, endpoints and deliveries."""
