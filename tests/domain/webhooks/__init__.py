"""Tests of webhooks: event types, payloads, signatures, endpoints and deliveries."""
