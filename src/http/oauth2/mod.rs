//! The OAuth 2.0 dialect: `/oauth2/…`.

mod errors;

pub(super) use errors::OAuthError;
