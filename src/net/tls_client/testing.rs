//! Test servers that speak TLS with the certificates in `testdata`.
//!
//! All end-entity certificates are for `localhost` and, unless self-signed, issued by `ca.crt`:
//! `server` (subjectAltName, signed with SHA-384), `server_cn` (common name only), `v1` (X.509
//! version 1), `selfsigned`, and `client` (common name `app`). Those named after an algorithm are
//! signed with it and serve nobody. All were made with OpenSSL and are valid for a hundred years.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::{ServerTls, SslMode};

pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/net/tls_client/testdata"
    ))
    .join(name)
}

pub(crate) fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(&format!("{name}.crt"))).unwrap()
}

fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap()
}

/// Settings with a mode and, if not empty, a file of trusted certificates.
pub(crate) fn settings(mode: SslMode, ca: &str) -> ServerTls {
    ServerTls {
        choice: Default::default(),
        mode,
        protocols: crate::config::TlsProtocols {
            tls12: true,
            tls13: true,
        },
        ca_file: (!ca.is_empty()).then(|| file(ca)),
        key_file: None,
        cert_file: None,
    }
}

/// A server that presents the named certificate.
pub(crate) fn acceptor(name: &str) -> TlsAcceptor {
    acceptor_of(name, name, rustls::ALL_VERSIONS)
}

/// A server that presents one certificate and signs with the key of, perhaps, another.
pub(crate) fn acceptor_of(
    certificate_name: &str,
    key_name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsAcceptor {
    build(
        certificate_name,
        key_name,
        versions,
        WebPkiClientVerifier::no_client_auth(),
    )
}

/// A server that demands a client certificate issued by `ca.crt`.
pub(crate) fn acceptor_demanding_certificate(name: &str) -> TlsAcceptor {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    build(name, name, rustls::ALL_VERSIONS, verifier.build().unwrap())
}

fn build(
    certificate_name: &str,
    key_name: &str,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
) -> TlsAcceptor {
    // Unlike `with_single_cert`, this takes certificates that webpki cannot read, and any key.
    let pair = CertifiedKey::new(
        vec![certificate(certificate_name)],
        aws_lc_rs::sign::any_supported_type(&key(key_name)).unwrap(),
    );
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
