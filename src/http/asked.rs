//! The query parameters of `GET /token`, as the specification describes them. The query is parsed
//! once.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchemaRef};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::context::RequestContext;
use super::problem::Problem;
use crate::foreign::TargetUrl;
use crate::token::{Audience, ScopeToken};

/// Declares extractors: each is a query parameter in the specification.
macro_rules! asked {
    ($($(#[$about:meta])* $name:ident($value:ty) = $member:ident, as $described:ty;)*) => {$(
        $(#[$about])*
        pub(super) struct $name(pub(super) $value);

        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

            type ParamType = $described;
            type ParamRawType = $described;

            fn param_in() -> Option<MetaParamIn> {
                Some(MetaParamIn::Query)
            }

            fn param_schema_ref() -> Option<MetaSchemaRef> {
                Some(<$described as Type>::schema_ref())
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<Self::ParamType>,
            ) -> poem::Result<Self> {
                let asked = request.extensions().get::<RequestContext>().map(|context| context.question(request.uri()));
                Ok(Self(asked.ok_or(Problem::Internal("no_context"))??.$member.clone()))
            }
        }
    )*};
}

asked! {
    /// `scope`: the scope tokens that the token must have. Each parameter is a scope (RFC 6749
    /// §3.3): one scope token, or several separated by spaces.
    AskedScope(Vec<ScopeToken>) = scope, as Vec<String>;
    /// `audience`: the API that the token must be for.
    AskedAudience(Option<Audience>) = audience, as String;
    /// `htm`: the method of the request that a proof must be for.
    AskedMethod(Option<String>) = method, as String;
    /// `htu`: the URL of the request that a proof must be for.
    AskedUrl(Option<TargetUrl>) = url, as String;
}
