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
mod parameters;
mod problem;
mod public;
mod query;
mod reply;
mod shell;
mod spec;
mod state;
mod trail;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, Request, Response};
use poem_openapi::{OpenApi, OpenApiService};

use problem::Problem;

pub use shell::Refusals;
pub use state::{Snapshot, State, Warning};
pub use trail::ClientCertificate;

/// Bodies over this many bytes are answered with 413.
pub const MAX_BODY: usize = 64 << 10;

type Api = (native::Native, public::Public);

fn api(state: &Arc<State>) -> Api {
    (native::Native::new(Arc::clone(state)), public::Public::new(Arc::clone(state)))
}

/// The interface without a service behind it, to describe.
fn description() -> OpenApiService<Api, ()> {
    let api = api(&Arc::new(State::empty()));
    spec::describe(OpenApiService::new(api, "lingpai", env!("CARGO_PKG_VERSION")))
}

/// The handlers of the interface, by path and method. `OpenApiService` makes an endpoint of them that also matches
/// patterns and takes queries apart for each request: no path here is a pattern, and queries are read where they matter.
struct Handlers(HashMap<String, HashMap<Method, BoxEndpoint<'static>>>);

impl Handlers {
    fn of(api: impl OpenApi) -> Self {
        let mut handlers = HashMap::new();
        api.add_routes(&mut handlers);
        Self(handlers)
    }
}

impl Endpoint for Handlers {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let methods = self.0.get(request.uri().path()).ok_or(Problem::NotFound)?;
        // Which methods a path has is looked at by the shell, which can list them.
        methods.get(request.method()).ok_or(Problem::NotFound)?.call(request).await
    }
}

/// Every route, inside the shell that gives each answer its shape.
#[must_use]
pub fn routes(state: &Arc<State>) -> impl Endpoint<Output = Response> + use<> {
    let pages = public::Pages::new(|| public::pages(&description()), Handlers::of(api(state)));
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
