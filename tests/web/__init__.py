"""Tests of the page, without and within a browser."""
