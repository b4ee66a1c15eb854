//! A successful answer: JSON bytes, and the schema of their content.

use std::marker::PhantomData;

use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;

use super::problem::{JSON, NO_STORE, Problem};

/// Capacity for an answer's headers, so that the map need not grow three times.
const HEADERS: usize = 12;

/// The description of an answer of this type in the specification.
pub(super) trait Answer: Type {
    /// The meaning of 200.
    const MEANING: &'static str;
    /// Names and descriptions of its headers.
    const HEADERS: &'static [(&'static str, &'static str)] = &[];
    /// Whether a cached copy may be confirmed with 304.
    const CACHEABLE: bool = false;
}

/// 200 with the JSON of a `T`, or 304 for one that is cached.
pub(super) struct Reply<T> {
    response: Response,
    answer: PhantomData<fn() -> T>,
}

impl<T: Answer> Reply<T> {
    /// Serializes `value`, which has the schema of `T`, for an answer that must not be stored.
    pub(super) fn json(value: &impl serde::Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|_| Problem::Internal("answer_not_serialised"))?;
        Ok(Self::no_store(body.into()))
    }

    /// Wraps the JSON of a `T`, for an answer that must not be stored.
    pub(super) fn no_store(body: Body) -> Self {
        Self::bytes(body).header(CACHE_CONTROL, NO_STORE)
    }

    /// Wraps the JSON of a `T`.
    pub(super) fn bytes(body: Body) -> Self {
        let mut response = Response::default();
        *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
        response.set_body(body);
        Self { response, answer: PhantomData }.header(CONTENT_TYPE, JSON)
    }

    /// Returns a 304 (RFC 9110 §15.4.5).
    pub(super) fn not_modified() -> Self {
        let mut response = Response::default();
        response.set_status(StatusCode::NOT_MODIFIED);
        Self { response, answer: PhantomData }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response.headers_mut().insert(name, value);
        self
    }
}

impl<T: Send> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        self.response
    }
}

impl<T: Answer> ApiResponse for Reply<T> {
    fn meta() -> MetaResponses {
        let headers = T::HEADERS.iter().map(|(name, description)| MetaHeader {
            name: (*name).to_owned(),
            description: Some((*description).to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        });
        let mut responses = vec![MetaResponse {
            description: T::MEANING,
            status: Some(200),
            status_range: None,
            content: vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }],
            headers: headers.collect(),
        }];
        if T::CACHEABLE {
            responses.push(MetaResponse {
                description: "The cached copy that `If-None-Match` names is current.",
                status: Some(304),
                status_range: None,
                content: Vec::new(),
                headers: Vec::new(),
            });
        }
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
