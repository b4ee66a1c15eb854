//! HTTP: the dialects, their wire types, the one table of errors and the
//! specification.
//!
//! The only room that names poem (beside the transport's one conversion). It
//! decodes requests into the domain's words and encodes what the domain answers.
//! A rule about clients, tokens or keys must not enter.

mod body;
mod caller;
mod cors;
mod credentials;
mod docs;
mod native;
mod ops;
mod problem;
mod public;
mod query;
mod reply;
mod shell;
mod spec;
mod state;
mod trail;
mod wire;

use std::sync::Arc;

use poem::{Endpoint, IntoEndpoint, Response};
use poem_openapi::OpenApiService;

pub use shell::Refusals;
pub use state::{Snapshot, State, Warning};
pub use trail::ClientCertificate;

/// Bodies over this many bytes are answered with 413.
pub const MAX_BODY: usize = 64 << 10;

type Api = (native::Native, public::Public);

fn service(state: &Arc<State>) -> OpenApiService<Api, ()> {
    let api = (native::Native::new(Arc::clone(state)), public::Public::new(Arc::clone(state)));
    spec::describe(OpenApiService::new(api, "lingpai", env!("CARGO_PKG_VERSION")))
}

/// The interface without a service behind it, to describe.
fn description() -> OpenApiService<Api, ()> {
    service(&Arc::new(State::empty()))
}

/// Every route, inside the shell that gives each answer its shape.
#[must_use]
pub fn routes(state: &Arc<State>) -> impl Endpoint<Output = Response> + use<> {
    let pages = public::Pages::new(|| public::pages(&description()), service(state).into_endpoint());
    let allowed = shell::Allowed::of::<Api>(public::PAGES);
    shell::Shell::new(pages, allowed, Arc::clone(state))
}

/// The operator's routes, in the same shell.
#[must_use]
pub fn ops_routes(state: &Arc<State>) -> impl Endpoint<Output = Response> + use<> {
    shell::Shell::new(ops::Ops::new(Arc::clone(state)), shell::Allowed::of::<()>(ops::PAGES), Arc::clone(state))
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
