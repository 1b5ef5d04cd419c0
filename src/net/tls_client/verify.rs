//! What a server's certificate must satisfy.
//!
//! Close to libpq, so that a set-up which works there works here. Two things that the strict
//! rules of webpki refuse are therefore accepted: a self-signed server certificate that is itself
//! in `ca_file` (it is then trusted byte for byte), and, if a certificate names no host in
//! subjectAltName, the host in its common name. And a certificate that nobody asked us to verify
//! may be of X.509 version 1, which webpki does not read at all.

use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// What is demanded of the server's certificate.
#[derive(Debug)]
pub(super) enum Check {
    /// Only that the server holds its private key.
    Nothing,
    /// That it comes from a trusted CA.
    Chain(TrustedCa),
    /// That, and that it is for the host we meant.
    ChainAndName(TrustedCa),
}

/// The contents of `ca_file`.
#[derive(Debug)]
pub(super) struct TrustedCa {
    roots: RootCertStore,
    /// The same certificates as they are in the file.
    certificates: Vec<CertificateDer<'static>>,
}

/// The verifier that [`super::TlsClient`] gives to rustls.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl TrustedCa ===

impl TrustedCa {
    /// A bundle may hold certificates that webpki cannot read; the others serve.
    ///
    /// # Errors
    /// Why the last one was refused, when none can be used.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<TrustedCa, Error> {
        let mut roots = RootCertStore::empty();
        let mut refused = None;
        for certificate in &certificates {
            if let Err(e) = roots.add(certificate.clone()) {
                refused = Some(e);
            }
        }
        match refused {
            Some(e) if roots.is_empty() => Err(e),
            _ => Ok(TrustedCa {
                roots,
                certificates,
            }),
        }
    }
}

// === impl ServerVerifier ===

impl ServerVerifier {
    pub(super) fn new(check: Check, provider: &CryptoProvider) -> ServerVerifier {
        ServerVerifier {
            check,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify_chain(
        &self,
        ca: &TrustedCa,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if ca.certificates.iter().any(|c| c == server) {
            return verify_validity(server, now);
        }
        let parsed = ParsedCertificate::try_from(server)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &ca.roots,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.check {
            Check::Nothing => {}
            Check::Chain(ca) => self.verify_chain(ca, server, intermediates, now)?,
            Check::ChainAndName(ca) => {
                self.verify_chain(ca, server, intermediates, now)?;
                verify_name(server, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(cert).is_ok() {
            return verify_tls12_signature(message, cert, dss, &self.algorithms);
        }
        verify_tls12_signature_of_old_certificate(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(cert).is_ok() {
            return verify_tls13_signature(message, cert, dss, &self.algorithms);
        }
        let certificate = parse(cert)?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// === functions ===

/// As rustls's `verify_tls12_signature`, for a certificate that webpki cannot read.
fn verify_tls12_signature_of_old_certificate(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = parse(cert)?;
    let key = certificate.public_key();
    let algorithm_id = algorithm_id(key.raw).ok_or(CertificateError::BadEncoding)?;
    // TLS 1.2's schemes do not say which curve; all algorithms that match the scheme are tried.
    let valid = supported
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == dss.scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == algorithm_id)
        .any(|algorithm| {
            algorithm
                .verify_signature(&key.subject_public_key.data, message, dss.signature())
                .is_ok()
        });
    if valid {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// The contents of the AlgorithmIdentifier that a SubjectPublicKeyInfo begins with.
fn algorithm_id(public_key_info: &[u8]) -> Option<&[u8]> {
    let (_, info) = Any::from_der(public_key_info).ok()?;
    let (_, id) = Any::from_der(info.data).ok()?;
    Some(id.data)
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    X509Certificate::from_der(certificate)
        .map(|(_, parsed)| parsed)
        .map_err(|_| CertificateError::BadEncoding.into())
}

fn verify_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = parse(certificate)?;
    let validity = certificate.validity();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let moment = |time: ASN1Time| {
        UnixTime::since_unix_epoch(Duration::from_secs(
            time.timestamp().try_into().unwrap_or(0),
        ))
    };
    if seconds < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: moment(validity.not_before),
        }
        .into());
    }
    if seconds > validity.not_after.timestamp() {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after: moment(validity.not_after),
        }
        .into());
    }
    Ok(())
}

/// Compares the host in the configuration with subjectAltName and, where that names no host, with
/// the common name.
fn verify_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let verdict = ParsedCertificate::try_from(certificate)
        .and_then(|parsed| verify_server_name(&parsed, name));
    let Err(refusal) = verdict else {
        return Ok(());
    };
    let certificate = parse(certificate)?;
    let host = name.to_str();
    let named = certificate
        .subject()
        .iter_common_name()
        .filter_map(|cn| cn.as_str().ok())
        .any(|cn| match name {
            ServerName::DnsName(_) => common_name_matches(cn, &host),
            _ => cn == host,
        });
    if named && !names_a_host(&certificate) {
        Ok(())
    } else {
        Err(refusal)
    }
}

/// Whether subjectAltName names a host; if it cannot be read, take it that it does.
fn names_a_host(certificate: &X509Certificate<'_>) -> bool {
    match certificate.subject_alternative_name() {
        Ok(None) => false,
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .any(|n| matches!(n, GeneralName::DNSName(_) | GeneralName::IPAddress(_))),
        Err(_) => true,
    }
}

/// A `*` stands for exactly one label, and only for the first, as in libpq.
pub(super) fn common_name_matches(common_name: &str, host: &str) -> bool {
    if common_name.eq_ignore_ascii_case(host) {
        return true;
    }
    match (common_name.strip_prefix("*."), host.split_once('.')) {
        (Some(pattern), Some((label, domain))) => {
            !label.is_empty() && pattern.contains('.') && pattern.eq_ignore_ascii_case(domain)
        }
        _ => false,
    }
}
