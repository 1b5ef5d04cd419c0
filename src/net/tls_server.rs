//! TLS towards clients: we are the server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::stream::{Socket, Stream};
use super::tls_client::binding;
use crate::config::{ClientTls, SslMode};

/// The protocol name of TLS application-layer negotiation (PostgreSQL docs, "SSL Session
/// Encryption").
const ALPN: &[u8] = b"postgresql";

/// Why the settings do not make a TLS server. Every message names the file or the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsServerError {
    #[error("{0} is not set, but sslmode asks for TLS")]
    Missing(&'static str),
    #[error("cannot read {}: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{} contains no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} contains a certificate that cannot be used: {source}", path.display())]
    Ca {
        path: PathBuf,
        source: rustls::Error,
    },
    #[error("certificate and key cannot be used together: {0}")]
    Pair(rustls::Error),
    #[error("TLS library: {0}")]
    Rustls(String),
}

/// How we speak TLS to clients. Built anew at each reload.
#[derive(Debug)]
pub struct TlsServer {
    config: Arc<rustls::ServerConfig>,
    end_point: Option<Vec<u8>>,
    not_after: Option<i64>,
}

/// When the first of the certificates runs out, in seconds since 1970.
fn not_after(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let parsed = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok());
    parsed
        .map(|(_, c)| c.validity().not_after.timestamp())
        .min()
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsServerError> {
    let failed = |source| TlsServerError::Pem {
        path: path.clone(),
        source,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if chain.is_empty() {
        return Err(TlsServerError::NoCertificate(path.clone()));
    }
    Ok(chain)
}

impl TlsServer {
    /// Reads the files that `settings` name.
    ///
    /// # Errors
    /// When a file is missing, unreadable or does not hold what it should.
    pub fn new(settings: &ClientTls) -> Result<TlsServer, TlsServerError> {
        let cert_file = settings
            .cert_file
            .as_ref()
            .ok_or(TlsServerError::Missing("client_tls.cert_file"))?;
        let key_file = settings
            .key_file
            .as_ref()
            .ok_or(TlsServerError::Missing("client_tls.key_file"))?;
        let chain = certificates(cert_file)?;
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(|source| TlsServerError::Pem {
            path: key_file.clone(),
            source,
        })?;
        let end_point = chain.first().and_then(|c| binding::hash_certificate(c));
        let not_after = not_after(&chain);
        let provider = Arc::new(settings.choice.provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&settings.protocols.versions())
            .map_err(|e| TlsServerError::Rustls(e.to_string()))?;
        let builder = match &settings.ca_file {
            None => builder.with_no_client_auth(),
            Some(ca_file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(ca_file)? {
                    roots
                        .add(certificate)
                        .map_err(|source| TlsServerError::Ca {
                            path: ca_file.clone(),
                            source,
                        })?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                // Below verify-ca a client may come without a certificate, but not with a bad one.
                let verifier = if settings.mode >= SslMode::VerifyCa {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                let verifier = verifier
                    .build()
                    .map_err(|e| TlsServerError::Rustls(e.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(TlsServerError::Pair)?;
        // Whoever has chosen suites has put the best first.
        config.ignore_client_order = settings.choice.has_order();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // As PostgreSQL: a session is long, so resuming one gains nothing, and what is not kept
        // cannot outlive a reload.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsServer {
            config: Arc::new(config),
            end_point,
            not_after,
        })
    }

    /// What SCRAM-SHA-256-PLUS binds to (`tls-server-end-point`, RFC 5929).
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// When the first certificate of the chain runs out, in seconds since 1970.
    pub fn not_after(&self) -> Option<i64> {
        self.not_after
    }

    /// Does the handshake. With `direct` the client must have negotiated the protocol by name
    /// (ALPN), because it has not spoken PostgreSQL before.
    ///
    /// # Errors
    /// The handshake failed; the connection is of no use any more.
    pub async fn accept(&self, socket: Socket, direct: bool) -> io::Result<Stream> {
        let stream = TlsAcceptor::from(Arc::clone(&self.config))
            .accept(socket)
            .await?;
        if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "direct TLS connection without ALPN",
            ));
        }
        Ok(Stream::ServerTls(Box::new(stream)))
    }
}

/// The common name in the client's verified certificate.
pub fn peer_common_name(stream: &Stream) -> Option<String> {
    let Stream::ServerTls(tls) = stream else {
        return None;
    };
    let der = tls.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    // A name with a NUL in it could end early somewhere else.
    let name = name.as_str().ok().filter(|n| !n.contains('\0'));
    name.map(str::to_owned)
}
