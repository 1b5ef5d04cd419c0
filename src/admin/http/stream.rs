//! The stream of snapshots that an open page reads (server-sent events, WHATWG HTML "Server-sent
//! events"): one a second, computed once for all.
//!
//! Nothing piles up for a browser that does not read: there is only ever the newest snapshot, and who
//! has not taken one for a while is cut off.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::access::{self, Access};
use super::reply::{Body, problem};
use super::server::Pace;
use super::site::Site;

/// So many pages are fed at once. Fewer than there may be connections, so that there is always room
/// for metrics and health checks.
pub(super) const PLACES: usize = 16;
/// Who has not taken a snapshot for so long does not read.
const STALL: Duration = Duration::from_secs(10);
/// A browser comes back by itself after that.
const LONGEST: Duration = Duration::from_secs(10 * 60);
/// How soon it comes back, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";

/// Where the newest snapshot is to be had.
#[derive(Debug)]
pub(super) struct Feed(watch::Sender<Bytes>);

impl Default for Feed {
    fn default() -> Feed {
        Feed(watch::Sender::new(Bytes::new()))
    }
}

impl Feed {
    /// Whether anybody would take one.
    pub fn is_wanted(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub fn send(&self, snapshot: &Bytes) {
        self.0.send_replace(message(snapshot));
    }
}

/// JSON is one line.
fn message(json: &Bytes) -> Bytes {
    [b"data: ", &json[..], b"\n\n"].concat().into()
}

type Next = Pin<Box<dyn Future<Output = (watch::Receiver<Bytes>, Option<Bytes>)> + Send>>;

/// One page's.
pub(super) struct Stream {
    first: Option<Bytes>,
    next: Next,
    pace: Arc<Pace>,
    end: Instant,
    reader: Reader,
    _place: OwnedSemaphorePermit,
}

/// Whose right to look may end.
struct Reader {
    headers: HeaderMap,
    peer: SocketAddr,
    site: Arc<Site>,
}

impl Reader {
    fn may_look(&self) -> bool {
        let access = access::of(&self.headers, self.peer, &self.site);
        access.is_ok_and(|access| access != Access::Stranger)
    }
}

/// The answer to a page that wants to be fed.
pub(super) fn open(
    headers: HeaderMap,
    peer: SocketAddr,
    site: Arc<Site>,
    pace: Arc<Pace>,
) -> Response<Body> {
    let Ok(place) = Arc::clone(&site.streams).try_acquire_owned() else {
        let why = "Too many pages are open.";
        let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, why);
        let after = HeaderValue::from_static("5");
        response.headers_mut().insert(RETRY_AFTER, after);
        return response;
    };
    let first = message(&site.snapshots.get(&site));
    let mut receiver = site.feed.0.subscribe();
    receiver.mark_unchanged();
    let stream = Stream {
        first: Some([RETRY.as_bytes(), &first[..]].concat().into()),
        next: Box::pin(next(receiver)),
        pace,
        end: Instant::now() + LONGEST,
        reader: Reader {
            headers,
            peer,
            site,
        },
        _place: place,
    };
    let mut response = Response::new(Body::Stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects answers would pass nothing on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn next(mut receiver: watch::Receiver<Bytes>) -> (watch::Receiver<Bytes>, Option<Bytes>) {
    let changed = receiver.changed().await;
    let newest = changed.ok().map(|()| receiver.borrow_and_update().clone());
    (receiver, newest)
}

impl Stream {
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // Only asked for when the peer has taken what was there before.
        self.pace.feed(STALL);
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let (receiver, newest) = ready!(self.next.as_mut().poll(cx));
        if Instant::now() >= self.end || !self.reader.may_look() {
            return Poll::Ready(None);
        }
        self.next = Box::pin(next(receiver));
        Poll::Ready(newest)
    }
}
