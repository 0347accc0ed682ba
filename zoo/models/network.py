"""Whether a hub can be reached at all, asked before a client spends a minute on retries."""

import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

HUB = "https://huggingface.co"


def hub_is_reachable() -> bool:
    """Whether the hub's name can be resolved, or a proxy is set up that may resolve it."""
    if getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(os.environ.get("HF_ENDPOINT") or HUB).hostname, None)
    except OSError:
        return False
    return True
