//! HTTP: the dialects, their wire types, the one table of errors and the
//! specification.
//!
//! The only room that names poem (beside the transport's one conversion). It
//! decodes requests into the domain's words and encodes what the domain answers.
//! A rule about clients, tokens or keys must not enter.

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

/// The interface without a service behind it, to describe.
fn description() -> OpenApiService<Api, ()> {
    let api = api(&Arc::new(State::empty()));
    spec::describe(OpenApiService::new(api, "lingpai", env!("CARGO_PKG_VERSION")))
}

/// Every public route, inside the shell that gives each answer its shape.
#[must_use]
pub fn routes(state: &Arc<State>, ids: RequestIds) -> impl Endpoint<Output = Response> + use<> {
    let (native, oauth2, public) = api(state);
    let routes = Routes::default().api(native).api(oauth2).api(public);
    let routes = home::add_to(revocations::add_to(routes, state), state);
    let routes = oauth2::add_metadata_to(routes, &state.snapshot().issuer);
    let routes = Pages::new(|| public::pages(&description())).add_to(routes);
    Shell::new(routes, Arc::clone(state), ids)
}

/// The operator's routes, in the same shell.
#[must_use]
pub fn ops_routes(state: &Arc<State>, ids: RequestIds) -> impl Endpoint<Output = Response> + use<> {
    Shell::new(ops::routes(state), Arc::clone(state), ids)
}

/// The `OpenAPI` document.
#[must_use]
pub fn specification(format: SpecFormat) -> String {
    let document = spec::document(&description());
    match format {
        SpecFormat::Json => spec::json(&document),
        SpecFormat::Yaml => spec::yaml(&document),
    }
}

/// How the document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecFormat {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}
