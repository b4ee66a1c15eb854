"""Issuers of the test's own, on 127.0.0.1, and identities in the words of the platforms that sign them.

Kubernetes: pkg/serviceaccount/claims.go and openidmetadata.go of kube-apiserver. GitHub: "OpenID Connect reference".
GitLab: "OpenID Connect (OIDC) Authentication Using ID Tokens". SPIFFE: JWT-SVID.md and
SPIFFE_Trust_Domain_and_Bundle.md.
"""

import base64
import hashlib
import http.server
import json
import ssl
import threading
import time
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
ANONYMOUS = {
    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
    "message": 'forbidden: User "system:anonymous" cannot get path',
}


def segment(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """A key pair, its id as kube-apiserver makes one: the SHA-256 of the public key's DER."""

    def __init__(self, algorithm, use="sig"):
        self.algorithm = algorithm
        is_rsa = algorithm == "RS256"
        self.private = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        public = self.private.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.kid = segment(hashlib.sha256(der).digest())
        jwk = (RSAAlgorithm if is_rsa else ECAlgorithm).to_jwk(public, as_dict=True)
        self.jwk = jwk | {"use": use, "kid": self.kid}
        self.jwk.pop("key_ops", None)

    def sign(self, claims, **header):
        """A token of these claims and members of the header, in which None stands for an absent one."""
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(present, self.private, self.algorithm, headers={"kid": self.kid} | header)


class Site(http.server.ThreadingHTTPServer):
    """Serves documents, with TLS where there is a certificate, to callers with `bearer` where there is one."""

    daemon_threads = True

    def __init__(self, certificate=None, bearer=None):
        super().__init__(("127.0.0.1", 0), Handler)
        # Which documents were asked for, and what presented as a Bearer token.
        self.documents, self.asked, self.presented, self.bearer = {}, [], [], bearer
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def times(self, path):
        """How often a document was asked for."""
        return self.asked.count(path)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        presented = self.headers.get("Authorization")
        self.server.asked.append(self.path)
        self.server.presented.append(presented)
        if self.server.bearer and presented != f"Bearer {self.server.bearer}":
            return self.answer(403, ANONYMOUS)
        document = self.server.documents.get(self.path)
        return self.answer(200, document) if document else self.answer(404, {})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "public, max-age=3600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Cluster:
    """The issuer in a Kubernetes API server. It is at one address and may advertise its keys at another."""

    def __init__(self, site, issuer=None, keys_at=None):
        self.key, self.site, self.issuer = Key("RS256"), site, issuer or site.url
        self.key.jwk["alg"] = "RS256"
        site.documents["/openid/v1/jwks"] = {"keys": [self.key.jwk]}
        site.documents["/.well-known/openid-configuration"] = {
            "issuer": self.issuer,
            "jwks_uri": f"{keys_at or site.url}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def claims(self, audience, account, namespace="shop", **changes):
        """A token that the kubelet has projected for `expirationSeconds: 3600`."""
        now = int(time.time())
        reference = lambda name: {"name": name, "uid": str(uuid.uuid4())}
        return {
            "aud": [audience], "exp": now + 3600, "iat": now, "iss": self.issuer, "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                "node": reference("node-1"),
                "pod": reference(f"{account}-5d8f7c6b9d-x2x4z"),
                "serviceaccount": reference(account),
            },
            "nbf": now, "sub": f"system:serviceaccount:{namespace}:{account}",
        } | changes

    def token(self, *claims, **changes):
        # kube-apiserver writes no `typ`.
        return self.key.sign(self.claims(*claims, **changes), typ=None)


def github(audience, subject="repo:acme/shop:ref:refs/heads/main", **changes):
    """What GitHub says of a job that a push to acme/shop started: every value is a string, numbers too."""
    now = int(time.time())
    return {
        "jti": str(uuid.uuid4()), "sub": subject, "aud": audience, "ref": "refs/heads/main",
        "sha": "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00", "repository": "acme/shop", "repository_owner": "acme",
        "repository_owner_id": "65", "run_id": "1234567890", "run_number": "10", "run_attempt": "2",
        "repository_visibility": "private", "repository_id": "74", "actor_id": "12", "actor": "octocat",
        "workflow": "deploy", "head_ref": "", "base_ref": "", "event_name": "push", "ref_protected": "true",
        "ref_type": "branch", "workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
        "workflow_sha": "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
        "job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_sha": "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00", "runner_environment": "github-hosted",
        "check_run_id": "45678901234", "enterprise": "acme-inc", "enterprise_id": "11468", "iss": GITHUB,
        "nbf": now - 300, "exp": now + 300, "iat": now,
    } | changes


def gitlab(audience, project="acme/shop", ref="main", **changes):
    """What GitLab says of a job with a timeout of an hour. Most numbers are strings, `runner_id` is none."""
    now = int(time.time())
    return {
        "namespace_id": "72", "namespace_path": "acme", "project_id": "20", "project_path": project, "user_id": "1",
        "user_login": "sample-user", "user_email": "sample-user@example.com", "user_access_level": "developer",
        "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}], "job_project_id": "20",
        "job_project_path": "acme/shop", "job_namespace_id": "72", "job_namespace_path": "acme", "pipeline_id": "574",
        "pipeline_source": "push", "job_id": "302", "ref": ref, "ref_type": "branch", "ref_path": f"refs/heads/{ref}",
        "ref_protected": "true", "groups_direct": ["acme", "acme/platform"], "environment": "production",
        "environment_protected": "true", "deployment_tier": "production", "environment_action": "start",
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private", "ci_config_ref_uri": f"gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/{ref}",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "jti": str(uuid.uuid4()), "iss": GITLAB,
        "iat": now, "nbf": now - 5, "exp": now + 3600, "sub": f"project_path:{project}:ref_type:branch:ref:{ref}",
        "aud": audience,
    } | changes


def svid(audience, path, **changes):
    """A JWT-SVID as SPIRE writes one."""
    now = int(time.time())
    return {"aud": [audience], "exp": now + 300, "iat": now, "sub": f"spiffe://example.org{path}"} | changes


def bundle(*keys):
    """A trust bundle."""
    return {"keys": [key.jwk for key in keys], "spiffe_sequence": 1, "spiffe_refresh_hint": 300}
