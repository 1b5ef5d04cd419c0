//! Scripted servers for the tests of `server`.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::auth::secret::Secret;
use crate::server::auth::Credentials;

/// A message as a server sends it.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// An Authentication message.
pub(crate) fn auth(code: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes()[..], rest].concat())
}

/// An ErrorResponse with this SQLSTATE.
pub(crate) fn error(code: &str) -> Vec<u8> {
    let body = format!("SFATAL\0VFATAL\0C{code}\0Mrefused by test\0\0");
    message(b'E', body.as_bytes())
}

/// What follows AuthenticationOk in a usual login.
pub(crate) fn settled() -> Vec<u8> {
    [
        message(b'S', b"server_version\x0015.0\0"),
        message(b'N', b"SNOTICE\0Mhello\0\0"),
        message(b'S', b"TimeZone\0UTC\0"),
        message(b'K', &[0, 0, 1, 2, 9, 8, 7, 6]),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// AuthenticationOk and the rest.
pub(crate) fn welcome() -> Vec<u8> {
    [auth(0, b""), settled()].concat()
}

pub(crate) fn plain(password: &str) -> Credentials {
    Credentials::Secret(Secret::Plain(password.into()))
}

/// The server's end of a connection. Everything panics when the client does not do its part.
pub(crate) struct Peer<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// As [`Peer::send`], to a client that may hang up meanwhile.
    pub(crate) async fn send_if_open(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
        let _ = self.0.flush().await;
    }

    /// Reads an untagged packet, without its length.
    pub(crate) async fn startup(&mut self) -> Vec<u8> {
        let length = self.0.read_u32().await.unwrap() as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).await.unwrap();
        body
    }

    /// Reads a `p` message and gives its body.
    pub(crate) async fn password(&mut self) -> Vec<u8> {
        assert_eq!(self.0.read_u8().await.unwrap(), b'p');
        self.startup().await
    }

    /// Reads until the client hangs up.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
    }
}
