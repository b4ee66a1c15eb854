//! The specification: what stands around the operations.

use poem_openapi::{LicenseObject, OpenApiService};

const DESCRIPTION: &str = "\
Issues signed tokens that carry their own expiry and scope, checks them without storage, and refreshes them.

Create a token with your client's id and secret (`POST /token`), send its `value` as `Authorization: Bearer …` to the \
services that accept it, and exchange its `refresh` for a new pair before it ends (`PUT /token`). A service that \
receives a token asks here whether it is good (`GET /token`), or verifies it offline with the keys at \
`/.well-known/jwks.json`.";

/// Adds title, description, licence and server to the document.
pub(super) fn describe<A>(service: OpenApiService<A, ()>) -> OpenApiService<A, ()> {
    let license = LicenseObject::new("MIT OR Apache-2.0").url("https://spdx.org/licenses/MIT.html");
    service.description(DESCRIPTION).license(license).server("/")
}
