//! Channel binding data of the type `tls-server-end-point` (RFC 5929 section 4.1).

use aws_lc_rs::digest;
use x509_parser::asn1_rs::oid as make_oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{self as oid, Oid};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use crate::net::stream::Stream;

/// The hash of the server's certificate that SCRAM-SHA-256-PLUS binds to.
///
/// `None` when the stream is not TLS towards a server, or when the certificate's signature has
/// no single hash (Ed25519), for which the RFC defines no binding.
pub fn server_end_point(stream: &Stream) -> Option<Vec<u8>> {
    let Stream::ClientTls(tls) = stream else {
        return None;
    };
    hash_certificate(tls.get_ref().1.peer_certificates()?.first()?)
}

/// Hashes the whole certificate with the hash of its own signature, SHA-256 instead of the weak
/// ones.
pub(in crate::net) fn hash_certificate(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let algorithm = signature_hash(&certificate.signature_algorithm)?;
    Some(digest::digest(algorithm, der).as_ref().to_vec())
}

fn signature_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static digest::Algorithm> {
    let id = &algorithm.algorithm;
    if *id == oid::OID_PKCS1_RSASSAPSS {
        let SignatureAlgorithm::RSASSA_PSS(parameters) = algorithm.try_into().ok()? else {
            return None;
        };
        return hash(parameters.hash_algorithm_oid());
    }
    const ECDSA_WITH_SHA1: Oid<'_> = make_oid!(1.2.840.10045.4.1);
    const SHA256: &[Oid<'_>] = &[
        oid::OID_PKCS1_MD5WITHRSAENC,
        oid::OID_PKCS1_SHA1WITHRSA,
        ECDSA_WITH_SHA1,
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
    ];
    const SHA384: &[Oid<'_>] = &[oid::OID_PKCS1_SHA384WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA384];
    const SHA512: &[Oid<'_>] = &[oid::OID_PKCS1_SHA512WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA512];
    [
        (SHA256, &digest::SHA256),
        (SHA384, &digest::SHA384),
        (SHA512, &digest::SHA512),
    ]
    .into_iter()
    .find_map(|(ids, digest)| ids.contains(id).then_some(digest))
}

/// The hash named in RSASSA-PSS parameters.
fn hash(id: &Oid<'_>) -> Option<&'static digest::Algorithm> {
    if *id == oid::OID_NIST_HASH_SHA256 || *id == oid::OID_HASH_SHA1 {
        Some(&digest::SHA256)
    } else if *id == oid::OID_NIST_HASH_SHA384 {
        Some(&digest::SHA384)
    } else if *id == oid::OID_NIST_HASH_SHA512 {
        Some(&digest::SHA512)
    } else {
        None
    }
}
