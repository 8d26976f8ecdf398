"""Tests of the pages for browsers, with an HTTP client and in Chromium."""
