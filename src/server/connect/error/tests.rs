use proptest::prelude::*;

use super::*;

fn parse(body: &[u8]) -> ServerError {
    ServerError::parse(body)
}

fn server(code: &str) -> ConnectError {
    let body = format!("SFATAL\0C{code}\0Mm\0\0");
    ConnectError::Server(Box::new(parse(body.as_bytes())))
}

#[test]
fn fields_are_read_and_passed_on() {
    let body = b"SFATALE\0VFATAL\0C28P01\0Mwrong\0Dmore\0\0";
    let error = parse(body);
    assert_eq!(error.severity, "FATAL");
    assert_eq!(error.code, "28P01");
    assert_eq!(error.message, "wrong");
    assert_eq!(&error.raw[..], body);
    assert_eq!(
        error.to_string(),
        "server refused the login: FATAL: wrong (SQLSTATE 28P01)"
    );
    // Servers before 9.6 send no V.
    assert_eq!(parse(b"SFATAL\0\0").severity, "FATAL");
    assert_eq!(
        parse(b"Mm\0\0").to_string(),
        "server refused the login: : m (SQLSTATE none)"
    );
}

#[test]
fn a_cut_body_is_passed_on_whole() {
    assert_eq!(&parse(b"SFATAL\0Mcut of").raw[..], b"SFATAL\0\0");
    assert_eq!(&parse(b"").raw[..], b"\0");
    // What follows the end is dropped.
    assert_eq!(&parse(b"Mm\0\0junk").raw[..], b"Mm\0\0");
}

#[test]
fn transient_or_not() {
    for code in [
        "57P03", "57P01", "57P02", "53300", "53100", "08006", "55006",
    ] {
        assert!(server(code).is_transient(), "{code}");
    }
    for code in [
        "28P01", "28000", "3D000", "57P04", "08P01", "42501", "XX000",
    ] {
        assert!(!server(code).is_transient(), "{code}");
    }
    let connect = |kind: io::ErrorKind| ConnectError::Connect {
        address: String::new(),
        source: kind.into(),
    };
    assert!(connect(io::ErrorKind::ConnectionRefused).is_transient());
    assert!(connect(io::ErrorKind::NotFound).is_transient());
    assert!(!connect(io::ErrorKind::PermissionDenied).is_transient());
    let timeout = ConnectError::Timeout {
        stage: Stage::LoggingIn,
        after: Duration::from_secs(1),
    };
    assert!(timeout.is_transient());
    assert_eq!(timeout.to_string(), "timed out after 1s while logging in");
    assert!(!ConnectError::TlsRefused(SslMode::Require).is_transient());
    assert!(!ConnectError::Tls(rustls::Error::DecryptError).is_transient());
}

#[test]
fn tls_errors_are_found_inside_io_errors() {
    let inner = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    let wrapped = io::Error::new(io::ErrorKind::InvalidData, inner);
    assert!(matches!(ConnectError::lost(wrapped), ConnectError::Tls(_)));
    let plain = io::ErrorKind::ConnectionReset.into();
    assert!(matches!(ConnectError::lost(plain), ConnectError::Lost(_)));
}

proptest! {
    #[test]
    fn any_body_gives_a_well_formed_one(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let error = parse(&body);
        prop_assert!(error.code.is_empty() || error.code.len() == 5);
        // Fields, each with its NUL, then the last NUL; reading it again changes nothing.
        prop_assert_eq!(error.raw.last(), Some(&0));
        prop_assert_eq!(parse(&error.raw), error);
    }
}
