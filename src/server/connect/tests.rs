use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

use super::testing::{Peer, auth, error, message, plain, welcome};
use super::*;
use crate::net::tls_client::testing::{acceptor, acceptor_demanding_certificate, settings};

const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const LIMIT: Duration = Duration::from_millis(300);

/// What a scripted server does with one connection, in this order.
#[derive(Clone)]
enum Step {
    /// Expects SSLRequest and answers with these bytes.
    Ssl(&'static [u8]),
    /// Does the server's side of a handshake, with the named certificate.
    Handshake(&'static str),
    HandshakeDemandingCertificate,
    /// Reads the StartupMessage.
    Startup,
    Send(Vec<u8>),
    /// Reads until the client hangs up.
    Closed,
}
use Step::*;

fn endpoint(host: Host, port: u16, mode: SslMode) -> Endpoint {
    let ca = if mode >= SslMode::VerifyCa {
        "ca.crt"
    } else {
        ""
    };
    Endpoint {
        host,
        port,
        resolver: crate::dns::testing::localhost(),
        tls: Arc::new(TlsClient::new(&settings(mode, ca)).unwrap()),
        connect_timeout: Duration::from_secs(20),
        keepalive: Keepalive::default(),
        scram_keys: Arc::default(),
    }
}

/// Plays one script for each connection; extra connections are refused.
async fn serve(scripts: Vec<Vec<Step>>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        for script in scripts {
            let (socket, _) = listener.accept().await.unwrap();
            play(socket, script).await;
        }
    });
    (port, server)
}

async fn play(socket: TcpStream, script: Vec<Step>) {
    let mut steps = script.into_iter().peekable();
    let mut plain = Peer(socket);
    loop {
        match steps.next() {
            Some(Ssl(answer)) => {
                assert_eq!(plain.startup().await, SSL_REQUEST);
                plain.send(answer).await;
            }
            Some(Handshake(name)) => {
                let Ok(tls) = acceptor(name).accept(plain.0).await else {
                    return; // the client's verdict is what the test looks at
                };
                return play_rest(Peer(tls), steps).await;
            }
            Some(HandshakeDemandingCertificate) => {
                let _ = acceptor_demanding_certificate("server")
                    .accept(plain.0)
                    .await;
                return;
            }
            Some(step) => {
                return play_rest(plain, std::iter::once(step).chain(steps)).await;
            }
            None => return,
        }
    }
}

async fn play_rest<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut peer: Peer<S>,
    steps: impl Iterator<Item = Step>,
) {
    for step in steps {
        match step {
            Startup => assert_eq!(peer.startup().await[..4], [0, 3, 0, 0]),
            Send(bytes) => peer.send(&bytes).await,
            Closed => peer.closed().await,
            Ssl(_) | Handshake(_) | HandshakeDemandingCertificate => {
                unreachable!("not after the startup")
            }
        }
    }
}

async fn login(endpoint: &Endpoint) -> Result<Established, ConnectError> {
    let request = LoginRequest {
        user: "u",
        database: "d",
        application_name: None,
        replication: Default::default(),
        parameters: &[],
        credentials: &plain("pencil"),
        protocol_minor: 0,
    };
    connect(endpoint, &request).await
}

/// Logs in to a server that plays these scripts, all of which must be played.
async fn against(
    mode: SslMode,
    host: &str,
    scripts: Vec<Vec<Step>>,
) -> Result<Established, ConnectError> {
    let (port, server) = serve(scripts).await;
    let result = login(&endpoint(Host::Tcp(host.into()), port, mode)).await;
    server.await.unwrap();
    result
}

fn accepts() -> Vec<Step> {
    vec![Startup, Send(welcome())]
}

fn refuses(code: &str) -> Vec<Step> {
    vec![Startup, Send(error(code)), Closed]
}

fn tls(certificate: &'static str, then: Vec<Step>) -> Vec<Step> {
    [vec![Ssl(b"S"), Handshake(certificate)], then].concat()
}

#[tokio::test]
async fn plain_login_over_tcp() {
    for mode in [SslMode::Disable, SslMode::Allow] {
        let got = against(mode, "127.0.0.1", vec![accepts()]).await.unwrap();
        assert!(!got.stream.is_tls());
        assert_eq!(
            (got.backend_pid, &got.cancel_key[..]),
            (0x102, &[9, 8, 7, 6][..])
        );
        assert_eq!(got.parameters.len(), 2);
        let (Address::Tcp(peer), Address::Tcp(local)) = (got.peer, got.local) else {
            panic!("not TCP")
        };
        assert!(peer.ip().is_loopback() && local.ip().is_loopback());
        assert_ne!(peer, local);
    }
}

#[tokio::test]
async fn what_comes_behind_the_login_is_not_lost_in_silence() {
    let late = message(b'S', b"TimeZone\0GMT\0");
    for (behind, good) in [(&late[..], false), (&late[..3], false), (b"", true)] {
        let script = vec![Startup, Send([&welcome(), behind].concat())];
        let got = against(SslMode::Disable, "127.0.0.1", vec![script]).await;
        assert_eq!(got.is_ok(), good, "{got:?}");
        assert!(got.is_ok() || got.unwrap_err().is_transient());
    }
}

#[tokio::test]
async fn login_over_a_unix_socket_never_asks_for_tls() {
    let directory = std::env::temp_dir().join(format!("pgweir-connect-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(".s.PGSQL.6543");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        play_rest(Peer(socket), accepts().into_iter()).await;
    });
    let endpoint = endpoint(Host::Unix(directory.clone()), 6543, SslMode::VerifyFull);
    let got = login(&endpoint).await;
    server.await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let got = got.unwrap();
    assert!(got.stream.is_unix() && !got.stream.is_tls());
    assert_eq!(got.peer, Address::Unix(path));

    let gone = login(&endpoint).await.unwrap_err();
    assert!(
        matches!(gone, ConnectError::Connect { .. }) && gone.is_transient(),
        "{gone}"
    );
}

#[tokio::test]
async fn tls_login() {
    for (mode, host) in [
        (SslMode::Prefer, "127.0.0.1"),
        (SslMode::Require, "127.0.0.1"),
        (SslMode::VerifyCa, "127.0.0.1"),
        (SslMode::VerifyFull, "localhost"),
    ] {
        let got = against(mode, host, vec![tls("server", accepts())])
            .await
            .unwrap();
        assert!(got.stream.is_tls(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_verify() {
    let script = vec![vec![Ssl(b"S"), Handshake("selfsigned")]];
    let e = against(SslMode::VerifyFull, "localhost", script)
        .await
        .unwrap_err();
    assert!(
        matches!(e, ConnectError::Tls(_)) && !e.is_transient(),
        "{e}"
    );
    let script = vec![vec![Ssl(b"S"), HandshakeDemandingCertificate]];
    let e = against(SslMode::Require, "localhost", script)
        .await
        .unwrap_err();
    assert!(e.to_string().contains("CertificateRequired"), "{e}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let script = vec![[vec![Ssl(b"N")], accepts()].concat()];
    let got = against(SslMode::Prefer, "127.0.0.1", script).await.unwrap();
    assert!(!got.stream.is_tls());
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let script = vec![vec![Ssl(b"N"), Closed]];
        let e = against(mode, "127.0.0.1", script).await.unwrap_err();
        assert!(matches!(e, ConnectError::TlsRefused(m) if m == mode), "{e}");
    }
}

#[tokio::test]
async fn odd_answers_to_ssl_request() {
    let run = async |answer| {
        let script = vec![vec![Ssl(answer), Closed]];
        match against(SslMode::Prefer, "127.0.0.1", script).await {
            Err(ConnectError::Protocol(e)) => e,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(run(b"E").await, ProtocolError::ErrorBeforeTls);
    assert_eq!(run(b"EFATAL: no\n\0").await, ProtocolError::ErrorBeforeTls);
    assert_eq!(
        run(b"SR\0\0\0\x08\0\0\0\0").await,
        ProtocolError::BytesBeforeTls
    );
    assert_eq!(run(b"NR").await, ProtocolError::BytesBeforeTls);
    assert_eq!(run(b"H").await, ProtocolError::SslAnswer(b'H'));
    let script = vec![vec![Ssl(b"")]];
    let e = against(SslMode::Require, "127.0.0.1", script)
        .await
        .unwrap_err();
    assert!(matches!(e, ConnectError::Lost(_)), "{e}");
}

#[tokio::test]
async fn allow_tries_tls_when_plain_is_refused() {
    let scripts = vec![refuses("28000"), tls("selfsigned", accepts())];
    let got = against(SslMode::Allow, "127.0.0.1", scripts).await.unwrap();
    assert!(got.stream.is_tls());
    // The server has no TLS: its refusal is the news, not ours.
    let scripts = vec![refuses("28000"), vec![Ssl(b"N"), Closed]];
    let e = against(SslMode::Allow, "127.0.0.1", scripts)
        .await
        .unwrap_err();
    assert_eq!(e.sqlstate(), Some("28000"));
    let scripts = vec![refuses("28000"), tls("selfsigned", refuses("3D000"))];
    let e = against(SslMode::Allow, "127.0.0.1", scripts)
        .await
        .unwrap_err();
    assert_eq!(e.sqlstate(), Some("3D000"));
    // Anything else is final.
    let e = against(SslMode::Allow, "127.0.0.1", vec![refuses("28P01")]).await;
    assert_eq!(e.unwrap_err().sqlstate(), Some("28P01"));
}

#[tokio::test]
async fn prefer_tries_plain_when_tls_is_refused() {
    let scripts = vec![tls("server", refuses("28000")), accepts()];
    let got = against(SslMode::Prefer, "127.0.0.1", scripts)
        .await
        .unwrap();
    assert!(!got.stream.is_tls());
    let scripts = vec![tls("server", refuses("28000")), refuses("28P01")];
    let e = against(SslMode::Prefer, "127.0.0.1", scripts)
        .await
        .unwrap_err();
    assert_eq!(e.sqlstate(), Some("28P01"));
    // Already plain: there is no other way.
    let script = vec![[vec![Ssl(b"N")], refuses("28000")].concat()];
    let e = against(SslMode::Prefer, "127.0.0.1", script)
        .await
        .unwrap_err();
    assert_eq!(e.sqlstate(), Some("28000"));
    // Stricter modes never fall back.
    let script = vec![tls("server", refuses("28000"))];
    let e = against(SslMode::Require, "127.0.0.1", script)
        .await
        .unwrap_err();
    assert_eq!(e.sqlstate(), Some("28000"));
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    for (mode, script, stage) in [
        (SslMode::Disable, vec![Closed], Stage::LoggingIn),
        (
            SslMode::Disable,
            vec![Startup, Send(auth(0, b"")), Closed],
            Stage::LoggingIn,
        ),
        (
            SslMode::Prefer,
            vec![Ssl(b""), Closed],
            Stage::NegotiatingTls,
        ),
        (
            SslMode::Require,
            vec![Ssl(b"S"), Closed],
            Stage::NegotiatingTls,
        ),
        (
            SslMode::Require,
            tls("server", vec![Startup, Closed]),
            Stage::LoggingIn,
        ),
    ] {
        let (port, server) = serve(vec![script]).await;
        let mut endpoint = endpoint(Host::Tcp("127.0.0.1".into()), port, mode);
        endpoint.connect_timeout = LIMIT;
        let started = Instant::now();
        match login(&endpoint).await {
            Err(ConnectError::Timeout { stage: s, after }) => {
                assert_eq!((s, after), (stage, LIMIT));
            }
            other => panic!("{other:?}"),
        }
        let took = started.elapsed();
        assert!(took >= LIMIT && took < LIMIT * 5, "{took:?}");
        server.await.unwrap(); // we hung up
    }
}

#[tokio::test]
async fn a_trickle_does_not_extend_the_deadline() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        peer.startup().await;
        for _ in 0..20 {
            peer.send_if_open(&message(b'N', b"\0")).await;
            tokio::time::sleep(LIMIT / 10).await;
        }
    });
    let mut endpoint = endpoint(Host::Tcp("127.0.0.1".into()), port, SslMode::Disable);
    endpoint.connect_timeout = LIMIT;
    let e = login(&endpoint).await.unwrap_err();
    assert!(matches!(e, ConnectError::Timeout { .. }), "{e}");
    server.abort();
}

#[tokio::test]
async fn a_refused_connection_is_transient() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let e = login(&endpoint(
        Host::Tcp("127.0.0.1".into()),
        port,
        SslMode::Prefer,
    ))
    .await;
    let e = e.unwrap_err();
    assert!(e.is_transient(), "{e}");
    assert!(e.to_string().contains(&port.to_string()), "{e}");
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let host = Host::Tcp("no-such-host.invalid".into());
    let e = login(&endpoint(host, 5432, SslMode::Disable))
        .await
        .unwrap_err();
    assert!(matches!(e, ConnectError::Resolve { .. }), "{e}");
    assert!(e.to_string().contains("no-such-host.invalid"), "{e}");
}

#[test]
fn shares_of_a_deadline_leave_time_for_the_rest() {
    let none = Deadline::after(Duration::ZERO);
    assert!(format!("{:?}", none.share(3)).contains("at: None"));
    let whole = Deadline::after(Duration::from_secs(30));
    assert!(format!("{:?}", whole.share(3)).contains("given: 9.9"));
    assert!(format!("{:?}", whole.share(1)).contains("given: 30s"));
}
