//! What keys sign, and how each kind of token is authenticated: one row each.

/// What a signature is for. No two purposes share a secret or a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An access token, signed so that everybody can verify it.
    Access,
    /// A refresh token, authenticated with a secret that only holders of the
    /// private key can derive.
    Refresh,
    /// A list of revocations, signed so that everybody can verify it.
    Revocations,
}

/// How tokens of a purpose are authenticated.
pub(super) enum Seal {
    /// With the private key, so that everybody can verify it.
    Signature,
    /// With HMAC-SHA256 and a secret derived from the private key under this label (HKDF's `info`, before the `kid`).
    Mac(&'static [u8]),
}

impl Purpose {
    /// Every purpose, in the order of their places in an array.
    pub const ALL: [Self; 3] = [Self::Access, Self::Refresh, Self::Revocations];

    /// Returns the `typ` of its tokens, and how they are authenticated.
    pub(super) const fn row(self) -> (&'static str, Seal) {
        match self {
            Self::Access => ("at+jwt", Seal::Signature),
            Self::Refresh => ("rt+jwt", Seal::Mac(b"lingpai refresh v1\0")),
            Self::Revocations => ("revocations+jwt", Seal::Signature),
        }
    }
}
