//! The route table: path → methods, handlers. [`dialects`](super::dialects) knows which dialect a
//! path speaks.
//!
//! `OpenApiService` would also match patterns and parse queries for each request. No path here is a
//! pattern, and handlers read the queries: so a map is enough.

use std::collections::HashMap;

use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method};
use poem::{Endpoint, EndpointExt as _, Response};
use poem_openapi::OpenApi;

/// A path and its handlers.
pub(super) struct Route {
    /// The path.
    pub(super) path: String,
    handlers: Vec<(Method, BoxEndpoint<'static>)>,
    /// The methods, as `Allow` lists them.
    methods: Vec<Method>,
    /// The value of `Allow`.
    pub(super) allow: HeaderValue,
}

impl Route {
    fn new(path: String, handlers: HashMap<Method, BoxEndpoint<'static>>) -> Self {
        let mut methods: Vec<_> = handlers.keys().cloned().chain([Method::OPTIONS]).collect();
        if handlers.contains_key(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        let listed = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        #[expect(clippy::expect_used, reason = "names of methods are visible ASCII")]
        let allow = HeaderValue::try_from(listed).expect("a header's value");
        Self { path, handlers: handlers.into_iter().collect(), methods, allow }
    }

    /// Returns the route's own copy of `method`.
    pub(super) fn method(&self, method: &Method) -> Option<&Method> {
        self.methods.iter().find(|known| *known == method)
    }

    /// Returns the handler for `method`. HEAD and OPTIONS have none of their own.
    pub(super) fn handler(&self, method: &Method) -> Option<&BoxEndpoint<'static>> {
        self.handlers.iter().find(|(known, _)| known == method).map(|(_, handler)| handler)
    }
}

/// The route table.
#[derive(Default)]
pub(super) struct Routes(HashMap<String, Route>);

impl Routes {
    /// Adds the operations of `api`.
    pub(super) fn api(mut self, api: impl OpenApi) -> Self {
        let mut handlers = HashMap::new();
        api.add_routes(&mut handlers);
        self.0.extend(handlers.into_iter().map(|(path, handlers)| (path.clone(), Route::new(path, handlers))));
        self
    }

    /// Adds a read-only page.
    pub(super) fn page(mut self, path: &str, page: impl Endpoint<Output = Response> + 'static) -> Self {
        let handlers = HashMap::from([(Method::GET, page.boxed())]);
        self.0.insert(path.to_owned(), Route::new(path.to_owned(), handlers));
        self
    }

    /// Returns the route at `path`.
    pub(super) fn at(&self, path: &str) -> Option<&Route> {
        self.0.get(path)
    }
}
