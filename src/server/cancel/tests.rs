use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::config::{Host, SslMode};
use crate::net::tls_client::TlsClient;
use crate::net::tls_client::testing::{acceptor, settings};
use crate::server::connect::Keepalive;
use crate::server::connect::testing::Peer;

const LIMIT: Duration = Duration::from_millis(300);
const EXPECTED: &[u8] = b"\x04\xd2\x16\x2e\xff\xff\xff\xfe\x01\x02\x03\x04";

async fn listen() -> (TcpListener, Address) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Address::Tcp(address))
}

/// An endpoint whose name leads nowhere: a cancel goes where the backend is.
fn endpoint(mode: SslMode) -> Endpoint {
    Endpoint {
        host: Host::Tcp("no-such-host.invalid".into()),
        port: 1,
        resolver: crate::dns::testing::localhost(),
        tls: Arc::new(TlsClient::new(&settings(mode, "")).unwrap()),
        connect_timeout: LIMIT,
        keepalive: Keepalive::default(),
        scram_keys: Arc::default(),
    }
}

#[tokio::test]
async fn returns_when_the_server_closes_and_not_before() {
    let (listener, peer) = listen().await;
    let pause = LIMIT / 3;
    let server = tokio::spawn(async move {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        assert_eq!(peer.startup().await, EXPECTED);
        tokio::time::sleep(pause).await;
    });
    let started = std::time::Instant::now();
    let endpoint = endpoint(SslMode::Disable);
    cancel(&endpoint, &peer, -2, &[1, 2, 3, 4]).await.unwrap();
    assert!(started.elapsed() >= pause);
    server.await.unwrap();
}

#[tokio::test]
async fn goes_over_tls_where_the_mode_says_so() {
    for mode in [SslMode::Prefer, SslMode::Require] {
        let (listener, peer) = listen().await;
        let server = tokio::spawn(async move {
            let mut plain = Peer(listener.accept().await.unwrap().0);
            plain.startup().await;
            plain.send(b"S").await;
            let mut tls = Peer(acceptor("server").accept(plain.0).await.unwrap());
            assert_eq!(tls.startup().await, EXPECTED);
            // Closed without TLS's goodbye, as PostgreSQL does.
        });
        cancel(&endpoint(mode), &peer, -2, &[1, 2, 3, 4])
            .await
            .unwrap();
        server.await.unwrap();
    }
}

#[tokio::test]
async fn never_goes_unencrypted_against_the_mode() {
    let (listener, peer) = listen().await;
    let server = tokio::spawn(async move {
        let mut plain = Peer(listener.accept().await.unwrap().0);
        plain.startup().await;
        plain.send(b"N").await;
        let mut rest = Vec::new();
        plain.0.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let e = cancel(&endpoint(SslMode::Require), &peer, -2, &[1; 4]).await;
    assert!(matches!(e, Err(ConnectError::TlsRefused(_))));
    assert_eq!(server.await.unwrap(), b"");
}

#[tokio::test]
async fn a_server_that_keeps_the_connection_times_out() {
    let (listener, peer) = listen().await;
    let server = tokio::spawn(async move {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        peer.startup().await;
        peer.closed().await;
    });
    let e = cancel(&endpoint(SslMode::Disable), &peer, 1, &[0; 4]).await;
    assert!(matches!(
        e,
        Err(ConnectError::Timeout {
            stage: Stage::Canceling,
            after: LIMIT
        })
    ));
    server.await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() {
    let (listener, peer) = listen().await;
    drop(listener);
    let e = cancel(&endpoint(SslMode::Disable), &peer, 1, &[0; 4]).await;
    assert!(matches!(e, Err(ConnectError::Connect { .. })));
}

#[test]
fn long_keys_lengthen_the_request() {
    let message = cancel_request(7, &[9; 256]);
    assert_eq!(message.len(), 268);
    assert_eq!(&message[..12], b"\0\0\x01\x0c\x04\xd2\x16\x2e\0\0\0\x07");
}

#[tokio::test]
async fn a_line_goes_to_the_address_that_answers_and_in_clear() {
    // "localhost" may be ::1 first, where nobody listens.
    let (listener, address) = listen().await;
    let Address::Tcp(address) = address else {
        panic!("it is TCP");
    };
    let server = tokio::spawn(async move {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        assert_eq!(peer.startup().await, EXPECTED);
    });
    let endpoint = Endpoint {
        host: Host::Tcp("localhost".into()),
        port: address.port(),
        ..endpoint(SslMode::Require)
    };
    let line = Line::open(&endpoint).await.unwrap();
    line.send(-2, &[1, 2, 3, 4]).await.unwrap();
    server.await.unwrap();
    assert!(matches!(
        Line::open(&endpoint).await,
        Err(ConnectError::Connect { .. })
    ));
}
