//! TLS towards PostgreSQL servers: from settings to a connector, with libpq's meanings of
//! `sslmode` (PostgreSQL docs, "SSL Support").
//!
//! What a certificate must satisfy is decided in [`verify`], what SCRAM binds to in [`binding`].
//! Asking the server for TLS (SSLRequest) and what to do when it declines is `server::connect`'s.
//! Not done: revocation lists, keys under a passphrase, the system's root certificates.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use tokio_rustls::TlsConnector;

use crate::config::{ServerTls, SslMode};
use crate::net::stream::{Socket, Stream};

pub(super) mod binding;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;

pub use binding::server_end_point;
use verify::{Check, ServerVerifier, TrustedCa};

/// The protocol name of TLS application-layer negotiation (PostgreSQL docs, "SSL Session
/// Encryption").
const ALPN: &[u8] = b"postgresql";

/// Why the settings do not make a TLS client. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsClientError {
    #[error("sslmode {0:?} needs a file of trusted certificates (ca_file)")]
    CaFileMissing(SslMode),
    #[error("a client certificate needs both cert_file and key_file; only {} is set", .0.display())]
    HalfOfPair(PathBuf),
    #[error("cannot read {}: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{} contains no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} contains no certificate that can be trusted: {source}", path.display())]
    UnusableCa {
        path: PathBuf,
        source: rustls::Error,
    },
    #[error(
        "client certificate {} and key {} cannot be used: {source}",
        cert.display(),
        key.display()
    )]
    ClientCertificate {
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("TLS library: {0}")]
    Rustls(rustls::Error),
}

/// How to speak TLS to one server, or not at all. Built once per configuration, then shared.
#[derive(Debug)]
pub struct TlsClient {
    mode: SslMode,
    /// `None` exactly when the mode is [`SslMode::Disable`].
    config: Option<Arc<rustls::ClientConfig>>,
}

// === impl TlsClient ===

impl TlsClient {
    /// A client that never uses TLS.
    pub fn disabled() -> TlsClient {
        TlsClient {
            mode: SslMode::Disable,
            config: None,
        }
    }

    /// Reads the files that `settings` name; with [`SslMode::Disable`] none is read.
    ///
    /// # Errors
    /// When a file is missing, unreadable or does not hold what it should.
    pub fn new(settings: &ServerTls) -> Result<TlsClient, TlsClientError> {
        if settings.mode == SslMode::Disable {
            return Ok(TlsClient::disabled());
        }
        let provider = Arc::new(settings.choice.provider());
        let verifier = ServerVerifier::new(check(settings)?, &provider);
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&settings.protocols.versions())
            .map_err(TlsClientError::Rustls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match client_pair(settings)? {
            None => builder.with_no_client_auth(),
            Some(pair) => builder
                .with_client_auth_cert(pair.chain, pair.key)
                .map_err(|source| TlsClientError::ClientCertificate {
                    cert: pair.cert_file.to_owned(),
                    key: pair.key_file.to_owned(),
                    source,
                })?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // PostgreSQL issues no session tickets, so a cache of them would only cost memory.
        config.resumption = Resumption::disabled();
        Ok(TlsClient {
            mode: settings.mode,
            config: Some(Arc::new(config)),
        })
    }

    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// Does the TLS handshake on a socket whose peer has agreed to it.
    ///
    /// `host` is the name in the configuration, which `verify-full` compares with the
    /// certificate; `ip` stands in for a name that no certificate can carry.
    ///
    /// # Errors
    /// What the network says, or, as `InvalidData` around a [`rustls::Error`], what TLS says.
    pub async fn handshake(&self, socket: Socket, host: &str, ip: IpAddr) -> io::Result<Stream> {
        let Some(config) = &self.config else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "TLS is disabled for this server",
            ));
        };
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(e) if self.mode == SslMode::VerifyFull => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, e));
            }
            Err(_) => ServerName::from(ip),
        };
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, socket)
            .await?;
        Ok(Stream::ClientTls(Box::new(stream)))
    }
}

// === functions ===

/// What `settings` demand of the server's certificate.
fn check(settings: &ServerTls) -> Result<Check, TlsClientError> {
    let trusted = || match &settings.ca_file {
        Some(path) => trusted_ca(path),
        None => Err(TlsClientError::CaFileMissing(settings.mode)),
    };
    Ok(match settings.mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => Check::Nothing,
        // libpq: "if a root CA file exists, require behaves like verify-ca".
        SslMode::Require if settings.ca_file.is_none() => Check::Nothing,
        SslMode::Require | SslMode::VerifyCa => Check::Chain(trusted()?),
        SslMode::VerifyFull => Check::ChainAndName(trusted()?),
    })
}

fn trusted_ca(path: &Path) -> Result<TrustedCa, TlsClientError> {
    let certificates = read_certificates(path)?;
    TrustedCa::new(certificates).map_err(|source| TlsClientError::UnusableCa {
        path: path.to_owned(),
        source,
    })
}

struct ClientPair<'a> {
    cert_file: &'a Path,
    key_file: &'a Path,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn client_pair(settings: &ServerTls) -> Result<Option<ClientPair<'_>>, TlsClientError> {
    let (cert_file, key_file) = match (&settings.cert_file, &settings.key_file) {
        (None, None) => return Ok(None),
        (Some(one), None) | (None, Some(one)) => {
            return Err(TlsClientError::HalfOfPair(one.clone()));
        }
        (Some(cert_file), Some(key_file)) => (cert_file, key_file),
    };
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|source| TlsClientError::Pem {
        path: key_file.clone(),
        source,
    })?;
    Ok(Some(ClientPair {
        chain: read_certificates(cert_file)?,
        key,
        cert_file,
        key_file,
    }))
}

/// All certificates of a PEM file; at least one.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsClientError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsClientError::Pem {
            path: path.to_owned(),
            source,
        })?;
    if certificates.is_empty() {
        return Err(TlsClientError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}
