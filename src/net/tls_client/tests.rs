use std::net::Ipv4Addr;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testing::{
    acceptor, acceptor_demanding_certificate, acceptor_of, certificate, file, settings,
};
use super::*;

const NO_CA: &str = "";
const CA: &str = "ca.crt";

/// Connects a client of these settings to a server with that certificate; the server sends one
/// byte after the handshake, which the client reads.
async fn shake(
    settings: &ServerTls,
    host: &str,
    acceptor: tokio_rustls::TlsAcceptor,
) -> Result<Stream, rustls::Error> {
    let client = TlsClient::new(settings).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await?;
        let mut tls = acceptor.accept(socket).await?;
        tls.write_all(b"x").await?;
        tls.flush().await?;
        io::Result::Ok(tls)
    });
    let socket = Socket::Tcp(TcpStream::connect(address).await.unwrap());
    let result = async {
        let mut stream = client.handshake(socket, host, address.ip()).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    let result = result
        .await
        .map_err(|e: io::Error| e.downcast::<rustls::Error>().unwrap());
    if result.is_ok() {
        let server = server.await.unwrap().unwrap();
        assert_eq!(server.get_ref().1.alpn_protocol(), Some(ALPN));
    }
    result
}

/// Whether the handshake succeeds.
async fn accepted(mode: SslMode, ca: &str, host: &str, server: &str) -> bool {
    match shake(&settings(mode, ca), host, acceptor(server)).await {
        Ok(_) => true,
        Err(rustls::Error::InvalidCertificate(_)) => false,
        Err(e) => panic!("unexpected {e:?}"),
    }
}

#[tokio::test]
async fn modes_below_verify_take_any_certificate() {
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require] {
        for server in ["server", "server_cn", "selfsigned", "v1"] {
            assert!(
                accepted(mode, NO_CA, "elsewhere", server).await,
                "{mode:?} {server}"
            );
        }
    }
}

#[tokio::test]
async fn version_1_certificates_must_still_own_their_key() {
    for version in rustls::ALL_VERSIONS {
        let v1 = acceptor_of("v1", "v1", &[version]);
        let result = shake(&settings(SslMode::Require, NO_CA), "h", v1).await;
        assert!(result.is_ok(), "{version:?} {result:?}");
        // The certificate of one key, the signatures of another.
        let thief = acceptor_of("v1", "server", &[version]);
        let result = shake(&settings(SslMode::Require, NO_CA), "h", thief).await;
        assert_eq!(
            result.unwrap_err(),
            rustls::Error::InvalidCertificate(CertificateError::BadSignature),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn a_stolen_certificate_is_no_use_in_any_mode() {
    for version in rustls::ALL_VERSIONS {
        let thief = acceptor_of("server", "v1", &[version]);
        let result = shake(&settings(SslMode::Require, NO_CA), "h", thief).await;
        assert_eq!(
            result.unwrap_err(),
            rustls::Error::InvalidCertificate(CertificateError::BadSignature),
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn require_with_ca_file_and_verify_ca_check_the_chain_only() {
    for mode in [SslMode::Require, SslMode::VerifyCa] {
        for server in ["server", "server_cn"] {
            assert!(accepted(mode, CA, "elsewhere", server).await, "{server}");
        }
        assert!(!accepted(mode, CA, "localhost", "selfsigned").await);
        assert!(!accepted(mode, "client.crt", "localhost", "server").await);
    }
}

#[tokio::test]
async fn verify_full_checks_the_host() {
    let full = |host, server| accepted(SslMode::VerifyFull, CA, host, server);
    assert!(full("localhost", "server").await);
    assert!(full("127.0.0.1", "server").await);
    assert!(!full("127.0.0.2", "server").await);
    assert!(!full("elsewhere", "server").await);
    // The common name counts only without subjectAltName.
    assert!(!full("ignored.example", "server").await);
    assert!(full("localhost", "server_cn").await);
    assert!(full("LOCALHOST", "server_cn").await);
    assert!(!full("elsewhere", "server_cn").await);
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_itself() {
    let with = |mode, host| accepted(mode, "selfsigned.crt", host, "selfsigned");
    assert!(with(SslMode::VerifyCa, "elsewhere").await);
    assert!(with(SslMode::VerifyFull, "localhost").await);
    assert!(!with(SslMode::VerifyFull, "elsewhere").await);
}

#[tokio::test]
async fn client_certificate_is_presented() {
    let demanding = || acceptor_demanding_certificate("server");
    let mut settings = settings(SslMode::Require, NO_CA);
    assert_eq!(
        shake(&settings, "h", demanding()).await.unwrap_err(),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired)
    );
    settings.cert_file = Some(file("client.crt"));
    settings.key_file = Some(file("client.key"));
    shake(&settings, "h", demanding()).await.unwrap();
}

#[tokio::test]
async fn end_point_binding_hashes_with_the_hash_of_the_signature() {
    for (server, length) in [("server", 48), ("server_cn", 32), ("v1", 32)] {
        let stream = shake(&settings(SslMode::Require, NO_CA), "h", acceptor(server)).await;
        let binding = server_end_point(&stream.unwrap()).unwrap();
        assert_eq!(binding.len(), length, "{server}");
        let algorithm = match length {
            48 => &::aws_lc_rs::digest::SHA384,
            _ => &::aws_lc_rs::digest::SHA256,
        };
        let expected = ::aws_lc_rs::digest::digest(algorithm, &certificate(server));
        assert_eq!(binding, expected.as_ref());
    }
    assert_eq!(server_end_point(&Stream::Plain(Socket::Gone)), None);
    assert_eq!(binding::hash_certificate(b"garbage"), None);
}

#[test]
fn end_point_binding_by_signature_algorithm() {
    let hash = |name| binding::hash_certificate(&certificate(name));
    let sha512 = |name| {
        let hash = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA512, &certificate(name));
        Some(hash.as_ref().to_vec())
    };
    // RSASSA-PSS names its hash in the parameters.
    assert_eq!(hash("rsa_pss_sha512"), sha512("rsa_pss_sha512"));
    assert_eq!(hash("rsa_sha512"), sha512("rsa_sha512"));
    // Too weak to be used as it is.
    assert_eq!(hash("rsa_sha1").map(|h| h.len()), Some(32));
    assert_eq!(hash("ed25519"), None);
}

#[test]
fn common_name_wildcards_stand_for_one_label() {
    let matches = verify::common_name_matches;
    assert!(matches("*.example.com", "db.example.com"));
    assert!(matches("*.Example.com", "DB.example.COM"));
    assert!(!matches("*.example.com", "a.db.example.com"));
    assert!(!matches("*.example.com", "example.com"));
    assert!(!matches("*.example.com", ".example.com"));
    assert!(!matches("*.com", "example.com"));
    assert!(!matches("*", "localhost"));
    assert!(!matches("d*.example.com", "db.example.com"));
}

/// Whether a server's certificate is taken so many years after 1970 where that other one is trusted.
fn verdict(server: &str, trusted: &str, years: u64) -> Result<(), rustls::Error> {
    let ca = verify::TrustedCa::new(vec![certificate(trusted)]).unwrap();
    let verifier = verify::ServerVerifier::new(
        verify::Check::Chain(ca),
        &rustls::crypto::aws_lc_rs::default_provider(),
    );
    let time = std::time::Duration::from_secs(years * 365 * 86_400);
    let time = UnixTime::since_unix_epoch(time);
    let name = ServerName::try_from("localhost").unwrap();
    let verdict = verifier.verify_server_cert(&certificate(server), &[], &name, &[], time);
    verdict.map(drop)
}

fn lives_as_long_as_it_says(server: &str, trusted: &str) {
    let refused = |years| match verdict(server, trusted, years) {
        Err(rustls::Error::InvalidCertificate(e)) => format!("{e:?}"),
        other => panic!("{other:?}"),
    };
    assert!(refused(1).starts_with("NotValidYet"));
    assert_eq!(verdict(server, trusted, 70), Ok(())); // some 2040
    assert!(refused(1000).starts_with("Expired"));
}

#[test]
fn a_certificate_trusted_itself_expires_nevertheless() {
    lives_as_long_as_it_says("selfsigned", "selfsigned");
}

#[test]
fn a_certificate_of_a_trusted_ca_expires() {
    lives_as_long_as_it_says("server", "ca");
}

#[test]
fn errors_name_the_file() {
    let error = |change: fn(&mut ServerTls)| {
        let mut settings = settings(SslMode::VerifyFull, CA);
        change(&mut settings);
        TlsClient::new(&settings).unwrap_err().to_string()
    };
    for (text, expected) in [
        (error(|s| s.ca_file = None), "sslmode VerifyFull needs"),
        (error(|s| s.ca_file = Some("/no/ca".into())), "/no/ca"),
        (
            error(|s| s.ca_file = Some(file("client.key"))),
            "client.key contains no certificate",
        ),
        (
            error(|s| s.cert_file = Some(file("client.crt"))),
            "client.crt is set",
        ),
        (
            error(|s| {
                s.cert_file = Some(file("client.crt"));
                s.key_file = Some(file("client.crt"));
            }),
            "cannot read",
        ),
        (
            error(|s| {
                s.cert_file = Some(file("client.crt"));
                s.key_file = Some(file("server.key"));
            }),
            "server.key cannot be used",
        ),
    ] {
        assert!(text.contains(expected), "{text} / {expected}");
    }
}

#[test]
fn disable_reads_no_file() {
    let client = TlsClient::new(&settings(SslMode::Disable, "no such file")).unwrap();
    assert_eq!(client.mode(), SslMode::Disable);
}
