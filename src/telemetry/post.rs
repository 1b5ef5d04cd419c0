//! Posts what is told to others over HTTP: a connection for each request, with a limit on its time.
//!
//! Runs on threads that do nothing else, so nothing that a receiver does is felt by clients.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use std::{io, thread};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_rustls::TlsConnector;

/// For one request, from looking up the host to the end of the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("the URL has no host")]
    Url,
    #[error("no certificates of the system can be trusted")]
    NoRoots,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer within {LIMIT:?}")]
    Late,
    #[error("the answer is too long")]
    Answer,
    #[error("the answer is {0}")]
    Status(hyper::StatusCode),
}

/// Makes requests, with TLS where the URL has `https`.
#[derive(Clone)]
pub struct Poster {
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poster")
    }
}

impl Poster {
    /// For URLs like this one.
    ///
    /// # Errors
    /// TLS is needed, and the system has no certificates to trust.
    pub fn new(url: &str) -> Result<Poster, PostError> {
        let secure = url.starts_with("https:");
        let tls = secure.then(connector).transpose()?;
        Ok(Poster { tls })
    }

    /// # Errors
    /// Anything but an answer that says that all is well.
    pub async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PostError> {
        let answer = tokio::time::timeout(LIMIT, self.send(request)).await;
        let answer = answer.map_err(|_| PostError::Late)??;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(PostError::Status(answer.status())),
        }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PostError> {
        let uri = request.uri().clone();
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(PostError::Url);
        };
        // An IPv6 address is in brackets there.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (mut parts, body) = request.into_parts();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse::<Uri>().map_err(|_| PostError::Url)?;
        let name = authority.as_str().rsplit('@').next().unwrap_or_default();
        let name = HeaderValue::from_str(name).map_err(|_| PostError::Url)?;
        parts.headers.insert(HOST, name);
        let request = Request::from_parts(parts, Full::new(body));
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(usual))).await?;
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| PostError::Url)?;
                exchange(tls.connect(name, stream).await?, request).await
            }
            None => exchange(stream, request).await,
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, PostError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let talk = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|_| PostError::Answer)?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        answer = &mut talk => answer,
        // It ends when the receiver closes, maybe with the answer in hand.
        ended = connection => {
            ended?;
            talk.await
        }
    }
}

fn connector() -> Result<TlsConnector, PostError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(PostError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Before the process ends: waits for what is queued, but not longer than `limit`. `flush` makes the job that is
/// answered when everything before it is done.
pub(super) fn drain<J>(
    queue: &mpsc::Sender<J>,
    flush: impl FnOnce(SyncSender<()>) -> J,
    limit: Duration,
) {
    let until = Instant::now() + limit;
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    let mut job = flush(done);
    while let Err(TrySendError::Full(again)) = queue.try_send(job) {
        if Instant::now() >= until {
            return;
        }
        job = again;
        thread::sleep(Duration::from_millis(5));
    }
    let _ = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Runs it on a thread of its own.
///
/// # Errors
/// There can be no such thread.
pub(super) fn on_a_thread<F>(name: &str, work: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(work))?;
    Ok(())
}
