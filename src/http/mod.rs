//! HTTP: the dialects, their wire types, the error table and the specification.
//!
//! The only room that uses poem (besides the transport's one conversion). It decodes requests into
//! domain types and encodes the domain's answers. Rules about clients, tokens or keys must not
//! enter.

mod asked;
mod body;
mod cacheable;
mod caller;
mod context;
mod cors;
mod credentials;
mod dialects;
mod docs;
mod forwarded_certificate;
mod home;
mod limits;
mod native;
mod oauth2;
mod ops;
mod parameters;
mod problem;
mod public;
mod query;
mod reply;
mod revocations;
mod routes;
mod shell;
mod spec;

use std::sync::Arc;

use poem::{Endpoint, Response};
use poem_openapi::OpenApiService;

use public::Pages;
use routes::Routes;
use shell::Shell;

use crate::service::State;

pub use limits::MAX_BODY;
pub use shell::{LoadShedding, RequestIds};

type Api = (native::Native, oauth2::OAuth2, public::Public);

fn api(state: &Arc<State>) -> Api {
    (
        native::Native::new(Arc::clone(state)),
        oauth2::OAuth2::new(Arc::clone(state)),
        public::Public::new(Arc::clone(state)),
    )
}

/// Returns the interface without a service behind it, for its description.
fn description() -> OpenApiService<Api, ()> {
    let api = api(&Arc::new(State::empty()));
    spec::describe(OpenApiService::new(api, "lingpai", env!("CARGO_PKG_VERSION")))
}

/// Returns the public routes, inside the shell that gives each answer its shape.
#[must_use]
pub fn routes(state: &Arc<State>, ids: RequestIds) -> impl Endpoint<Output = Response> + use<> {
    let (native, oauth2, public) = api(state);
    let routes = Routes::default().api(native).api(oauth2).api(public);
    let routes = home::add_to(revocations::add_to(routes, state), state);
    let routes = oauth2::add_metadata_to(routes, &state.snapshot().issuer);
    let routes = Pages::new(|| public::pages(&description())).add_to(routes);
    Shell::new(routes, Arc::clone(state), ids)
}

/// Returns the operator's routes, in the same shell.
#[must_use]
pub fn ops_routes(state: &Arc<State>, ids: RequestIds) -> impl Endpoint<Output = Response> + use<> {
    Shell::new(ops::routes(state), Arc::clone(state), ids)
}

/// Returns the `OpenAPI` document.
#[must_use]
pub fn specification(format: SpecFormat) -> String {
    let document = spec::document(&description());
    match format {
        SpecFormat::Json => spec::json(&document),
        SpecFormat::Yaml => spec::yaml(&document),
    }
}

/// The format of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecFormat {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}
