//! Answers, as hyper wants them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::stream::Stream;

/// What an answer carries.
pub(super) enum Body {
    Whole(Full<Bytes>),
    /// Goes on until somebody has enough.
    Stream(Stream),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Body::Stream(stream) => stream
                .poll_next(cx)
                .map(|next| next.map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(whole) => whole.is_end_stream(),
            Body::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

pub(super) fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Full::new(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    whole(status, "text/plain; charset=utf-8", body.into())
}

/// JSON that is written already.
pub(super) fn json_bytes(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = whole(status, "application/json", body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    json_bytes(status, written(body))
}

/// A value as JSON.
pub(super) fn written(body: &impl Serialize) -> Bytes {
    // Only maps with keys that are no texts, and values that refuse, cannot be written.
    serde_json::to_vec(body).unwrap_or_default().into()
}

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
}

/// Why it is not to be, for the page to show.
pub(super) fn problem(status: StatusCode, error: &str) -> Response<Body> {
    json(status, &Problem { error })
}
