"""A publisher in a few lines: claims what is due, POSTs it to PUBLISH_URL, reports what came of it."""

import http.client
import json
import os
import socket
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

API = os.environ.get("API_URL", "http://127.0.0.1:8000/graphql")
PLATFORMS = os.environ.get("PLATFORMS")
MUTATION = "mutation($input: {0}Input!) {{ done: {1}(input: $input) {{ {2} }} }}"
CLAIM = "claims { leaseToken destinationId postId platform accountName content mediaIds reference }"
LEASE, CALL = 300, 240  # seconds
