//! Every setting, once: its name, how it is written, its default, whether replicas must agree on it, what applies a
//! change, and the handbook's text. [`settings!`](super::setting) says what the columns mean.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::matches::Matches;
use super::setting::{
    Meaning, Missing, Setting, Table, count, default_text, digest, empty, hold, name, needs_restart, raw_type,
    settings, value, value_type, written,
};
use super::source::{List, PathText, Source, Text};
use super::values::{
    Addresses, ForwardedHeader, Forwarding, Instant, Issuer, Listen, Memory, Nonces, Origin, Peer, Seconds,
};
use crate::clock::Timestamp;
use crate::crypto::Digester;
use crate::token::{ACCESS_CAP, LEEWAY_CAP, REFRESH_CAP, SESSION_CAP, Sender};

type Access = Seconds<1, ACCESS_CAP>;
type Refresh = Seconds<1, REFRESH_CAP>;
type Session = Seconds<1, SESSION_CAP>;
type Leeway = Seconds<0, LEEWAY_CAP>;

settings! {
    /// Every setting, read and validated, with defaults filled in.
    Config, written as File, at "" {
        issuer: Issuer | (overridable) | replicated | restart
            | "The value of `iss` in every token: an `https` URL (`http` only on a loopback host) without query, fragment or trailing slash. At most 255 bytes.";
        listen: Addresses as Vec<Listen> | "127.0.0.1:8080" | local | restart
            | "An address, or an array of up to 16: `IPv4:port`; `[IPv6]:port` (`[::]:port` also accepts IPv4, unless an IPv4 address with the same port is listed); `localhost:port`, both loopback addresses; `:port`, every IPv4 and IPv6 address; `unix:/path`; or `fd:name`, a socket that systemd opened.";
        proxy_protocol: bool | false | local | restart
            | "Whether every connection to an IP address of `listen` begins with a PROXY protocol header (version 1 or 2). The header is trusted, so only the load balancer may reach the port.";
        trusted_proxies: Vec<Peer> | [] | replicated | reload
            | "Proxies whose forwarding header is trusted for the caller's address, and whose `Client-Cert` and `Client-Cert-Chain` (RFC 9440) are trusted for its certificate: networks such as `\"10.0.0.0/8\"`, addresses, or `\"unix\"`. They must overwrite or remove what the caller sent under these names.";
        forwarded_header: ForwardedHeader | "X-Forwarded-For" | replicated | reload
            | "The header that trusted proxies write: this, or `\"Forwarded\"` (RFC 7239, including quoted strings). It is read from the end. Empty elements are skipped; a malformed one ends the list.";
        include: Vec<Text> | [] | local | reload
            | "Files that hold only `[[clients]]` and `[[issuers]]`: up to 64 paths, relative to the configuration file. A `*` in a file's name stands for any characters, except a leading dot; what it matches is read by name, and may be nothing. Up to 4,096 files of 16 MiB, with the configuration file 256 MiB together.";
    }
    + tables {
        cors: Cors, keys: Keys, reload: Reload, log: Log, drain: Drain, limits: Limits, token: Token, dpop: Dpop
    }
    + optional tables { ops: Ops, tls: Tls, mtls: Mtls, revocations: Revocations, anonymous: Anonymous }
    + arrays of tables { clients: Client, issuers: TrustedIssuer }
    + beside {
        /// Where the settings came from, for messages about them.
        pub source: Source,
        pub(super) client_tables: ClientTables,
        /// Each of `[[issuers]]`, as written: first those of the configuration's own file.
        pub issuers: Vec<TrustedIssuer>
    }

    /// `[cors]`.
    Cors, written as CorsTable, at "cors." {
        origins: Vec<Origin> | [] | replicated | reload
            | "Origins whose pages may call the API from a browser, as browsers send them: `\"https://app.example.com\"`, without a default port. Browser credentials are not allowed. The JWKS, the specification and `/.well-known/*` are open to every origin, preflights included.";
    }

    /// `[keys]`.
    Keys, written as KeysTable, at "keys." {
        path: PathBuf | "keys" | local | restart
            | "The folder of key files, relative to the configuration file.";
        jwks_max_age: Seconds<0, 86_400> as i64 | "5m" | replicated | reload
            | "How long verifiers may cache the JWKS; at most `24h`.";
        revoked: Vec<Text> | [] | replicated | reload
            | "Ids of keys that are treated as absent.";
        check_modes: bool | true | local | reload
            | "Whether a key file is refused whose mode lets other users read or change it, and a warning names one that belongs to a user other than root, the folder's owner and that of the process. `false` is for secret stores that cannot mount anything else; it causes a warning.";
    }

    /// `[reload]`.
    Reload, written as ReloadTable, at "reload." {
        interval: Seconds<1, 3_600> as i64 | "2s" | local | reload
            | "How often the files are compared; from `1s` to `1h`. SIGHUP reloads at once.";
    }

    /// `[log]`.
    Log, written as LogTable, at "log." {
        access: bool | true | local | restart
            | "Whether each request has a line. If not, only failures (5xx) have one, and issued tokens, for the audit.";
    }

    /// `[ops]`.
    Ops, written as OpsTable, at "ops." {
        listen: Addresses as Vec<Listen> | (required) | local | restart
            | "With `[ops]`: an address or an array of addresses that serve the operator's pages. Without it they are not served.";
    }

    /// `[tls]`.
    Tls, written as TlsTable, at "tls." {
        cert: PathBuf | (required) | local | restart
            | "With `[tls]`, the IP addresses of `listen` speak TLS 1.2 and 1.3 only. A PEM file, relative to the configuration file: the certificate, followed by any intermediate certificates.";
        key: PathBuf | (required) | local | restart
            | "The certificate's private key, in PEM. If other users can read or change the file, a warning says so.";
    }

    /// `[mtls]`.
    Mtls, written as MtlsTable, at "mtls." {
        listen: Addresses as Vec<Listen> | () | local | restart
            | "An IP address or an array of them where clients are asked for a certificate, which is optional (RFC 8705). The server's certificate is that of `[tls]`. On other addresses clients are not asked, because browsers would prompt. The certificate's SHA-256 is logged. A client shows at most 8 certificates, 16 KiB in all; its RSA key has at most 4,096 bits and the exponent 65,537.";
        url: Issuer | ("the issuer with the port of `listen`") | replicated | restart
            | "The URL at which clients reach `listen`, for `mtls_endpoint_aliases` in the metadata.";
        ca: PathText | ("required with `clients.tls_san_dns` or `clients.tls_san_uri`") | local | restart
            | "CA certificates in PEM; a reload reads the file again. They verify the certificates of clients with `tls_san_dns` or `tls_san_uri`. The intermediate certificates that a client sends must have different subjects. CAs with the same subject are tried in turn, so keep those few.";
    }

    /// `[revocations]`.
    Revocations, written as RevocationsTable, at "revocations." {
        path: PathBuf | (required) | local | restart
            | "With `[revocations]`, tokens name their session, and this list ends tokens and sessions: a file, or a folder of files, relative to the configuration file. An empty file is an empty list.";
        publish: bool | false | replicated | reload
            | "Whether anybody may read the list, signed, at `/.well-known/revocations`, for offline verifiers. It names users.";
    }

    /// `[drain]`.
    Drain, written as DrainTable, at "drain." {
        lame_duck: Seconds<0, 600> as i64 | "0s" | local | restart
            | "After SIGTERM: how long `/readyz` answers 503 while connections are still accepted, so that load balancers can react; at most `10m`.";
        limit: Seconds<1, 600> as i64 | "10s" | local | restart
            | "How long requests in flight then have to finish; from `1s` to `10m`.";
    }

    /// `[limits]`.
    Limits, written as LimitsTable, at "limits." {
        failures: u32 | 60 | replicated | reload
            | "Burst of failed client authentications from one address (IPv6: one /64); it refills at one per second. `0`: no limit. A correct secret is never refused. Behind a proxy set `trusted_proxies`; otherwise all its callers count as one address.";
        memory: Memory as u64 | ("what the control group allows, otherwise the machine's") | local | restart
            | "The memory that the next two defaults follow, such as `\"128MiB\"` or `\"2GiB\"`, so that floods stay below half of it.";
        connections: NonZeroU32 as u32 | ("follows the memory (`128MiB`: 945), at most 10,000 and the limit of open files less 32") | local | restart
            | "Maximum concurrent connections. When all are taken, a new one displaces the longest idle one or one of the address with the most, or waits.";
        requests: NonZeroU32 as u32 | ("follows the memory (`128MiB`: 245), at most 4,096") | local | restart
            | "Maximum requests in flight, over all connections. One address gets half of what others leave. Beyond it: 503, over HTTP/2 `REFUSED_STREAM`.";
        connections_per_address: NonZeroU32 as u32 | ("no limit") | local | restart
            | "Maximum concurrent connections of one address (IPv6: one /64), except those of `trusted_proxies`.";
    }

    /// `[token]`.
    Token, written as TokenTable, at "token." {
        algorithm: Text | "ES256" | replicated | reload
            | "The algorithm of the keys that sign: `ES256`, `EdDSA` or `RS256`. Keys of the other algorithms are published and verify.";
        audience: List | ("the issuer") | replicated | reload
            | "An array of 1 to 8: the audience of tokens for clients without their own.";
        access_lifetime: Access as i64 | "10m" | replicated | reload
            | "How long an access token is valid; at most `24h`.";
        refresh_lifetime: Refresh as i64 | "1d" | replicated | reload
            | "How long a refresh token is valid; at most `90d`.";
        session_lifetime: Session as i64 | "30d" | replicated | reload
            | "How long a session can be refreshed; at most `365d`.";
        leeway: Leeway as i64 | "5s" | replicated | reload
            | "Maximum difference between clocks that is tolerated; at most `60s`.";
        cache: u32 | 10000 | local | reload
            | "Maximum number of verified access tokens to remember, as digests, so that checking one again needs no signature. They take at most 2 KiB each. `0`: none.";
    }

    /// `[dpop]`.
    Dpop, written as DpopTable, at "dpop." {
        nonce: Nonces | "offered" | replicated | reload
            | "Whether a DPoP proof must have a nonce of the server: `\"required\"`, `\"offered\"` (a proof may have none, but not a wrong one) or `\"off\"`.";
    }

    /// `[anonymous]`.
    Anonymous, written as AnonymousTable, at "anonymous." {
        scope: Vec<Text> | [] | replicated | reload
            | "With `[anonymous]`, callers without credentials get tokens with this scope. Without it they get none.";
    }

    /// One of `[[clients]]`, as written.
    Client, written as ClientTable, at "clients." {
        id: Text | (required) | replicated | reload
            | "1 to 64 of `A-Z a-z 0-9 . _ ~ -`; unique, and not `anonymous`.";
        secrets: List | ("required without `jwks`, except where a rule of `[[issuers]]` names the client") | secret | reload
            | "Digests of the client's secrets: `sha256:` and 64 hex digits. Two while one replaces the other.";
        jwks: PathText | ("required without `secrets`") | contents | reload
            | "A JWKS file with the public keys that verify the client's assertions (`private_key_jwt`), relative to the file that names it. A certificate in `x5c` authenticates the client too (`self_signed_tls_client_auth`).";
        tls_san_dns: Text | () | replicated | reload
            | "A DNS name in the client's certificate, by which it authenticates (`tls_client_auth`). It is an alternative to `secrets` and `jwks`, and excludes `tls_san_uri`.";
        tls_san_uri: Text | () | replicated | reload
            | "As `tls_san_dns`, a URI such as `spiffe://example.com/orders`.";
        scope: Vec<Text> | [] | replicated | reload
            | "Scope tokens that the client may have, up to 64.";
        audience: List | ("the service's") | replicated | reload
            | "Audiences that the client may request, 1 to 8.";
        subjects: Vec<Text> | [] | replicated | reload
            | "Subjects that the client may name beside its own id, up to 64. A `*` at the end matches one or more characters.";
        claims: Vec<Text> | [] | replicated | reload
            | "Names of extra claims that the client may set, up to 64.";
        algorithm: Text | ("the service's") | replicated | reload
            | "The algorithm that signs the client's access tokens, for example for a relying party that supports only `RS256`.";
        grants: Vec<Text> | ("`[\"client_credentials\"]`") | replicated | reload
            | "Grants that the client may use at `/oauth2/token`: `client_credentials`, `refresh_token`, `urn:ietf:params:oauth:grant-type:token-exchange`, `urn:ietf:params:oauth:grant-type:jwt-bearer`.";
        accepts: Vec<Text> | [] | replicated | reload
            | "Audiences that the client serves, up to 8: it may introspect and exchange tokens for them.";
        sender: Sender | () | replicated | reload
            | "How the client's tokens must be bound: `\"dpop\"`, to the key of a proof (RFC 9449), or `\"mtls\"`, to its certificate (RFC 8705). It gets no other tokens, and none at `/token`. Without this setting a proof still binds a token, but is not required.";
        rate: NonZeroU32 as u32 | ("no limit") | replicated | reload
            | "Token pairs per second, created or refreshed, which is also the burst. Only issued pairs count. A reload keeps the count while the rate stays the same.";
        access_lifetime: Access as i64 | ("the service's") | replicated | reload
            | "As `token.access_lifetime`.";
        refresh_lifetime: Refresh as i64 | ("the service's") | replicated | reload
            | "As `token.refresh_lifetime`.";
        session_lifetime: Session as i64 | ("the service's") | replicated | reload
            | "As `token.session_lifetime`.";
        not_before: Instant as Timestamp | () | replicated | reload
            | "An instant such as `2026-11-22T00:00:00Z`, quoted or not. Sessions that began earlier are refused: set it when a secret has leaked.";
    }
    + beside {
        /// What it was read from, for messages about it.
        pub source: Source
    }

    /// One of `[[issuers]]`, as written.
    TrustedIssuer, written as IssuerTable, at "issuers." {
        issuer: Text | ("required without `spiffe`") | replicated | reload
            | "A trusted issuer, whose workloads get tokens: the value of `iss` in its tokens.";
        spiffe: Text | ("required without `issuer`") | replicated | reload
            | "A SPIFFE trust domain such as `\"example.org\"`: its JWT-SVIDs name a workload in `sub`, and `iss` is not read.";
        audience: Text | ("the service's `issuer`") | replicated | reload
            | "The only value that `aud` of its tokens may have.";
        jwks_uri: Text | ("by discovery at the issuer") | replicated | reload
            | "Where its public keys are. Keys are fetched when a token needs them, by `https` only (`http` for loopback), without following redirects; the last good set serves for a day.";
        jwks_file: PathText | () | contents | reload
            | "Instead: a JWKS file with the issuer's public keys, relative to the file that names it. Unusable keys are skipped; a private or symmetric key is refused.";
        ca_file: PathText | ("what the machine trusts, otherwise Mozilla's list") | local | reload
            | "CA certificates in PEM that the issuer's server is verified with, instead of public ones.";
        token_file: PathText | () | local | reload
            | "A file with a Bearer token for discovery and keys, read at each fetch. It is sent only to the issuer's own origin or to a configured `jwks_uri`.";
        allow_private: bool | false | replicated | reload
            | "Whether the issuer may be at a private, loopback or otherwise special address.";
        max_age: Seconds<1, ACCESS_CAP> as i64 | "1h" | replicated | reload
            | "How long its tokens may live, from `iat` to `exp`; at most `24h`.";
    }
    + arrays of tables { rules: IssuerRule }
    + beside {
        /// What it was read from, for messages about it.
        pub source: Source,
        /// Its rules, in the file's order.
        pub rules: Vec<IssuerRule>
    }

    /// One of `[[issuers.rules]]`, as written.
    IssuerRule, written as IssuerRuleTable, at "issuers.rules." {
        r#match: toml::Spanned<Matches> | (required) | replicated | reload
            | "Claims that an identity must have, at least one. In a string `*` stands for one or more characters other than `:` and `/`, and `**` for any. In an array of strings, one must match; a table matches an object's members. The first matching rule decides; without one there is no token.";
        client: Text | (required) | replicated | reload
            | "The client that the identity acts as. Its policy limits everything, and its `grants` must list the grant that the request uses.";
        subject: Text | ("the client's id") | replicated | reload
            | "The tokens' subject, with claims in braces: `\"ci:{repository_id}\"`. It must be within the client's `subjects`.";
        scope: List | ("the client's") | replicated | reload
            | "A further limit on the scope, even if none is requested.";
    }
}

/// Where the clients are written. They are parsed on demand.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientTables {
    /// `[[clients]]` tables in each file: in the configuration's own, and in those that it includes.
    pub(super) files: Vec<(Source, Vec<Range<usize>>)>,
    /// Those that are written elsewhere: in an inline array, or in no file.
    pub(super) others: Vec<Client>,
}

impl ClientTables {
    /// Adds those of another file.
    pub(super) fn append(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.others.append(&mut other.others);
    }

    /// The part of them that the file at `path` holds.
    pub(super) fn of_file(&self, path: &Path) -> Self {
        let is_in = |source: &Source| source.path() == Some(path);
        Self {
            files: self.files.iter().filter(|(source, _)| is_in(source)).cloned().collect(),
            others: self.others.iter().filter(|client| is_in(&client.source)).cloned().collect(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.files.iter().map(|(_, tables)| tables.len()).sum::<usize>() + self.others.len()
    }
}

impl Config {
    /// `trusted_proxies` and `forwarded_header`.
    #[must_use]
    pub fn forwarding(&self) -> Forwarding {
        Forwarding { trusted: self.trusted_proxies.clone(), is_rfc7239: self.forwarded_header.is_rfc7239 }
    }
}

impl Client {
    /// Digests of its secrets.
    #[must_use]
    pub fn secrets(&self) -> &[Text] {
        self.secrets.as_ref().map_or(&[], |secrets| secrets.get_ref())
    }
}
