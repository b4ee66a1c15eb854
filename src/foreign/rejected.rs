//! Why a foreign token is not accepted.

/// Why a foreign token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// It is not three segments of base64url, or too long.
    Malformed,
    /// Its header is not a strict JSON object, or a member has the wrong type.
    BadHeader,
    /// Its header has a forbidden member.
    ForbiddenHeader,
    /// Its `typ` names another kind of token.
    WrongType,
    /// Its `alg` is not accepted.
    UnsupportedAlgorithm,
    /// Its claims are not a strict JSON object, or one is missing or has the wrong type.
    BadClaims,
    /// The set has no key for it.
    UnknownKey,
    /// It fits several keys of the set and does not name one.
    AmbiguousKey,
    /// Its `alg` does not fit the key.
    WrongAlgorithm,
    /// Its signature does not match the key.
    BadSignature,
    /// Its `iss` names another issuer.
    WrongIssuer,
    /// It has expired.
    Expired,
    /// Its lifetime is longer than the caller allows.
    MaxAge,
    /// It is not valid yet, or was issued in the future.
    NotYetValid,
    /// It is for another audience, or for several.
    WrongAudience,
    /// A proof's `jwk` is missing, private or unusable.
    BadKey,
    /// A proof's `htm` is another method.
    WrongMethod,
    /// A proof's `htu` is another URL.
    WrongUrl,
    /// A proof's `ath` is missing, or that of another token.
    WrongTokenHash,
}

impl Rejected {
    /// Returns the log's word for it.
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
