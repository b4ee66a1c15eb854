"""A trusted issuer in a thread of the harness, and tokens in its name that no key of it has signed."""

import base64
import http.server
import json
import threading
import time
import urllib.parse

# RFC 7517 §A.1
KEY = {
    "kty": "EC", "crv": "P-256", "kid": "known",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KIDS = 500  # none is remembered, so it does not matter how many


class Issuer:
    """Publishes one key, and counts how many times it was asked for it."""

    def __init__(self):
        issuer, self.fetches = self, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.fetches += 1
                body = json.dumps({"keys": [KEY]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        # One request after the other, which are counted without a lock.
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.name = f"http://127.0.0.1:{server.server_port}"

    def written(self):
        """Its entry in the configuration."""
        return (
            f'[[issuers]]\nissuer = "{self.name}"\njwks_uri = "{self.name}/keys"\nallow_private = true\n'
            '[[issuers.rules]]\nmatch = { sub = "job" }\nclient = "first"\n'
        )

    def unknown_kids(self):
        """Requests with tokens of keys that it does not have, whose signatures are as long as real ones."""
        return "".join(map(self.unknown_kid, range(KIDS)))

    def unknown_kid(self, number=0):
        now = int(time.time())
        payload = segment({"iss": self.name, "sub": "job", "aud": "any", "iat": now, "exp": now + 300})
        message = f"{segment({'alg': 'ES256', 'kid': f'unknown-{number}'})}.{payload}"
        form = {
            "grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": f"{message}.{encoded(bytes(range(64)))}",
        }
        body = urllib.parse.urlencode(form)
        return (
            "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )


def segment(value):
    return encoded(json.dumps(value).encode())


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
