//! What the configured clients can use, taken together, for the documents that describe the
//! service.

use std::collections::BTreeSet;

use super::GrantTypes;
use crate::keys::Alg;

/// How clients authenticate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuthMethods {
    /// By a secret (RFC 6749 §2.3.1).
    pub secret: bool,
    /// By a signed assertion (RFC 7523 §2.2).
    pub assertion: bool,
}

/// What at least one client can use.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub(super) methods: AuthMethods,
    pub(super) grants: GrantTypes,
    pub(super) algorithms: BTreeSet<Alg>,
}

impl Offered {
    /// What a service without clients offers: signatures with `algorithm`.
    pub(super) fn new(algorithm: Alg) -> Self {
        Self { algorithms: BTreeSet::from([algorithm]), ..Self::default() }
    }

    /// Adds what one client can use.
    pub(super) fn add(&mut self, methods: AuthMethods, grants: GrantTypes, algorithm: Alg) {
        self.methods.secret |= methods.secret;
        self.methods.assertion |= methods.assertion;
        self.grants = self.grants.union(grants);
        self.algorithms.insert(algorithm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::GrantType;

    #[test]
    fn it_is_what_some_client_can_use() {
        let (by_secret, by_assertion) =
            (AuthMethods { secret: true, assertion: false }, AuthMethods { secret: false, assertion: true });
        let mut offered = Offered::new(Alg::Es256);
        assert_eq!((offered.methods, offered.grants), (AuthMethods::default(), GrantTypes::default()));
        offered.add(by_secret, GrantTypes::default(), Alg::EdDsa);
        assert_eq!(offered.methods, by_secret);
        offered.add(by_assertion, [GrantType::RefreshToken].into_iter().collect(), Alg::Es256);
        assert_eq!(offered.methods, AuthMethods { secret: true, assertion: true });
        assert_eq!(offered.grants.iter().collect::<Vec<_>>(), [GrantType::RefreshToken]);
        assert_eq!(offered.algorithms.iter().copied().collect::<Vec<_>>(), [Alg::Es256, Alg::EdDsa]);
    }
}
