"""Prints the status of a GET with a bearer token: status.py URL TOKEN. 0 where nobody answers."""

import sys
import urllib.error
import urllib.request

request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {sys.argv[2]}"})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as refused:
    print(refused.code)
except OSError:
    print(0)
