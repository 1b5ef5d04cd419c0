//! Accepts connections and sees to it that none stays for ever.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::routes;
use super::site::Site;
use crate::telemetry::failures::Failures;

/// Connections served at once; more wait.
const CONNECTIONS: usize = 64;
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that reads slowly, or asks again and again, makes room for others after this.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The kernel and hyper keep so much for a peer that does not read.
const BUFFER: usize = 16 * 1024;

/// For the last answer of a connection that has had its time.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often it is looked whether a connection's time is over.
const LOOK: Duration = Duration::from_secs(1);

/// When a connection is to end; whoever feeds it puts that off.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    /// Milliseconds since it began.
    until: AtomicU64,
    /// It is fed: when its time is over, its peer does not read, and nothing more is to be said.
    is_fed: AtomicBool,
}

impl Pace {
    fn begin() -> Pace {
        Pace {
            began: Instant::now(),
            until: AtomicU64::new(CONNECTION_TIMEOUT.as_millis() as u64),
            is_fed: AtomicBool::new(false),
        }
    }

    /// It is fed, and has taken what there was.
    pub fn feed(&self, more: Duration) {
        self.is_fed.store(true, Ordering::Relaxed);
        self.allow(more);
    }

    fn allow(&self, more: Duration) {
        let until = (self.began.elapsed() + more).as_millis() as u64;
        self.until.store(until, Ordering::Relaxed);
    }

    fn end(&self) -> Instant {
        self.began + Duration::from_millis(self.until.load(Ordering::Relaxed))
    }
}

/// Accepts for ever.
pub(super) async fn accept(listener: Arc<TcpListener>, site: &Arc<Site>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failures = Failures::of("HTTP: cannot accept a connection");
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => {
                failures.over();
                accepted
            }
            Err(error) => {
                failures.note(&error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let site = Arc::clone(site);
        tokio::spawn(async move {
            serve(stream, peer, site).await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, site: Arc<Site>) {
    // Without it the kernel keeps more, and notices later that nobody reads.
    let _ = SockRef::from(&stream).set_send_buffer_size(BUFFER);
    let pace = Arc::new(Pace::begin());
    let service = service_fn(|request| {
        let answer = routes::answer(request, peer, Arc::clone(&site), Arc::clone(&pace));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut is_closing = false;
    loop {
        tokio::select! {
            // A peer that breaks off is no concern of ours.
            _ = &mut connection => return,
            // The end may have come nearer, too.
            () = tokio::time::sleep(LOOK) => {}
        }
        if pace.end() > Instant::now() {
            continue;
        }
        if is_closing || pace.is_fed.load(Ordering::Relaxed) {
            return;
        }
        is_closing = true;
        pace.allow(LAST_WORDS);
        connection.as_mut().graceful_shutdown();
    }
}
