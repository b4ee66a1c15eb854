//! Why a foreign token is not accepted.

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It is not three segments of base64url, or too long.
    Malformed,
    /// Its header is not a JSON object of one reading, or a member has another type.
    BadHeader,
    /// Its header has a member that is refused.
    ForbiddenHeader,
    /// Its `typ` says that it is another kind of token.
    WrongType,
    /// Its `alg` is none that is accepted.
    UnsupportedAlgorithm,
    /// Its claims are not a JSON object of one reading, or one is absent or has another type.
    BadClaims,
    /// The set has no key for it.
    UnknownKey,
    /// It does not say which key of several it means.
    AmbiguousKey,
    /// Its `alg` is not the key's.
    WrongAlgorithm,
    /// Its signature is not the key's.
    BadSignature,
    /// Its `iss` is another issuer.
    WrongIssuer,
    /// It has expired.
    Expired,
    /// Its lifetime is longer than the caller accepts.
    MaxAge,
    /// It is not valid yet, or was issued in the future.
    NotYetValid,
    /// It is for another audience, or for several.
    WrongAudience,
    /// A proof's `jwk` is absent, private, or cannot be used.
    BadKey,
    /// A proof's `htm` is another method.
    WrongMethod,
    /// A proof's `htu` is another URL.
    WrongUrl,
    /// A proof's `ath` is another token's, or absent.
    WrongTokenHash,
}

impl Rejected {
    /// One word for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadHeader => "bad_header",
            Self::ForbiddenHeader => "forbidden_header",
            Self::WrongType => "wrong_type",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::BadClaims => "bad_claims",
            Self::UnknownKey => "unknown_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::Expired => "expired",
            Self::MaxAge => "max_age",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::BadKey => "bad_key",
            Self::WrongMethod => "wrong_method",
            Self::WrongUrl => "wrong_url",
            Self::WrongTokenHash => "wrong_token_hash",
        }
    }
}
