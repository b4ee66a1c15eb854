//! Refusals in the native dialect: status, challenge, message.

use crate::clients::{Ended, Refusal};
use crate::http::problem::{Challenge, Failure, Problem, whole_seconds};
use crate::service::{Denied, Unauthenticated, Unproven};
use crate::token::{MAX_TOKEN, MintError, Rejection};

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let word = denied.word();
        let invalid_token = |description| Self::Unauthorized(Challenge::InvalidToken(description), word);
        match denied {
            Denied::Client(why) if why != Unauthenticated::IssuerUnavailable => {
                Self::Unauthorized(Challenge::Basic, word)
            }
            Denied::Limited(wait) => Self::TooManyRequests(whole_seconds(wait)),
            Denied::Policy(refusal @ Refusal::Lifetime(_)) => Self::bad(refusal.to_string()),
            Denied::Policy(refusal) => Self::Forbidden(refusal.to_string(), None),
            Denied::Token(Rejection::Expired) => invalid_token(Some("the token has expired")),
            Denied::Token(Rejection::NotYetValid) | Denied::Session(Ended::NotBegun(_)) => {
                invalid_token(Some("the token is not yet valid"))
            }
            Denied::OtherAudience => invalid_token(Some("the token is for another audience")),
            Denied::Malformed
            | Denied::OtherDialect
            | Denied::OtherClient
            | Denied::WrongScheme
            | Denied::OtherSender
            | Denied::Token(_)
            | Denied::Revoked(_)
            | Denied::Session(_) => invalid_token(None),
            Denied::Unproven(Unproven::Nonce) => Self::Unauthorized(Challenge::Proof("use_dpop_nonce"), word),
            Denied::Unproven(_) => Self::Unauthorized(Challenge::Proof("invalid_dpop_proof"), word),
            Denied::BoundClient => {
                let message = "this client's tokens are bound to their sender; get them at /oauth2/token";
                Self::Forbidden(message.to_owned(), None)
            }
            // The native dialect has no token exchange.
            Denied::Assertion(_)
            | Denied::SubjectToken(_)
            | Denied::ActorToken(_)
            | Denied::NoLifetime
            | Denied::TooManyActors
            | Denied::DelegatedActor => Self::bad("the token cannot be exchanged"),
            // Native grants need no permission.
            Denied::GrantType => Self::Forbidden("this grant is not allowed".to_owned(), None),
            Denied::MissingScope(scope) => {
                let message = format!("the token does not have the scope {scope}");
                Self::Forbidden(message, Some(Challenge::InsufficientScope))
            }
            Denied::Mint(MintError::TooLarge) => Self::bad(format!(
                "the token would be longer than {MAX_TOKEN} bytes; ask for less scope, audience or claims"
            )),
            // No trusted issuer vouches for callers of the native dialect.
            Denied::Client(_) | Denied::Mint(MintError::NoKey) => Self::Unavailable(word),
            Denied::Mint(MintError::NoRandomness) => Self::Internal(word),
        }
    }
}

impl<Of> From<Denied> for Failure<Of> {
    fn from(denied: Denied) -> Self {
        Problem::from(denied).into()
    }
}
