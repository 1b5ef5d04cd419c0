//! A PostgreSQL client that costs next to nothing while it waits: a socket, no buffers.
//!
//! It speaks what a web application's driver does (startup, SCRAM-SHA-256, simple and extended
//! queries) and keeps the answer as bytes: whoever asked looks into it. One request at a time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;
use pgweir::auth::scram::ScramKeys;
use pgweir::auth::scram_client::{ChannelBinding, ClientFirst, derive_keys};
use pgweir::protocol::{backend, encode, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Ports that one source address is used for; the kernel hands out 28,232 unless told otherwise.
const USERS_PER_ADDRESS: usize = 20_000;

/// Why a request or a login got no answer, or not the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The connection could not be made.
    Connect(std::io::ErrorKind),
    /// It was closed, or broke, in the middle.
    Closed,
    /// Nothing came in time.
    Timeout,
    /// ErrorResponse: SQLSTATE and message.
    Server { code: String, message: String },
    /// An answer, but not to this question.
    Wrong(String),
    /// Bytes that are not the protocol.
    Protocol(String),
}

impl Failure {
    /// What it is counted as.
    pub fn label(&self) -> String {
        match self {
            Failure::Connect(kind) => format!("cannot connect: {kind}"),
            Failure::Closed => "connection closed".into(),
            Failure::Timeout => "timeout".into(),
            Failure::Server { code, message } => format!("{code} {message}"),
            Failure::Wrong(_) => "WRONG ANSWER".into(),
            Failure::Protocol(_) => "protocol violated".into(),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Failure {
        Failure::Closed
    }
}

impl From<frame::BadLength> for Failure {
    fn from(bad: frame::BadLength) -> Failure {
        Failure::Protocol(bad.to_string())
    }
}

/// Where and as whom.
pub struct Login {
    pub address: SocketAddr,
    pub user: String,
    pub password: String,
    pub database: String,
    keys: Keys,
}

/// Keys by salt and rounds. All users share one password, and hashing it is the work of thousands
/// of machines that are not here.
type Keys = Mutex<HashMap<(Vec<u8>, NonZeroU32), ScramKeys>>;

impl Login {
    pub fn new(address: SocketAddr, user: &str, password: &str, database: &str) -> Login {
        Login {
            address,
            user: user.into(),
            password: password.into(),
            database: database.into(),
            keys: Keys::default(),
        }
    }

    fn keys(&self, salt: &[u8], rounds: NonZeroU32) -> ScramKeys {
        let mut known = self.keys.lock();
        known
            .entry((salt.to_vec(), rounds))
            .or_insert_with(|| derive_keys(&self.password, salt, rounds))
            .clone()
    }
}

/// A connection that is logged in and idle between two requests.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects and logs in. `index` tells users apart, so that more than a source address has
    /// ports for can come.
    pub async fn open(
        login: &Login,
        index: usize,
        patience: Duration,
    ) -> Result<Connection, Failure> {
        let all = async {
            let mut stream = connect(login.address, index)
                .await
                .map_err(|error| Failure::Connect(error.kind()))?;
            stream.set_nodelay(true)?;
            log_in(&mut stream, login).await?;
            Ok(Connection { stream })
        };
        tokio::time::timeout(patience, all)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    /// One text by the simple protocol.
    pub async fn simple(&mut self, sql: &str) -> Result<Answer, Failure> {
        let mut request = Vec::with_capacity(sql.len() + 6);
        encode::query(&mut request, sql.as_bytes());
        self.ask(&request).await
    }

    /// One statement with parameters by the extended protocol, as drivers send it that keep no
    /// statements: unnamed Parse, Bind, Describe, Execute, Sync in one go, everything as text.
    pub async fn extended(&mut self, sql: &str, parameters: &[&str]) -> Result<Answer, Failure> {
        self.ask(&extended(sql, parameters)).await
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = self.stream.write_all(encode::TERMINATE).await;
        let _ = self.stream.shutdown().await;
    }

    async fn ask(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.stream.write_all(request).await?;
        let mut incoming = Incoming::default();
        loop {
            let (tag, _) = incoming.next(&mut self.stream).await?;
            if tag == b'Z' {
                break;
            }
        }
        if incoming.at != incoming.bytes.len() {
            return Err(Failure::Wrong(
                "more than one answer to one question".into(),
            ));
        }
        let answer = Answer {
            bytes: incoming.bytes,
        };
        answer.error().map_or(Ok(answer), Err)
    }
}

async fn connect(address: SocketAddr, index: usize) -> std::io::Result<TcpStream> {
    let block = index / USERS_PER_ADDRESS;
    if block == 0 {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(1 + block).map_err(std::io::Error::other)?;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    socket.connect(address).await
}

/// What has been received, message by message.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// Where the next message begins.
    at: usize,
}

impl Incoming {
    /// The next message's type, and where its body is.
    async fn next(
        &mut self,
        stream: &mut TcpStream,
    ) -> Result<(u8, std::ops::Range<usize>), Failure> {
        loop {
            if let Some(header) = frame::header(&self.bytes[self.at..])?
                && self.bytes.len() - self.at >= header.total
            {
                let body = self.at + frame::HEADER..self.at + header.total;
                self.at += header.total;
                return Ok((header.tag, body));
            }
            self.bytes.reserve(512);
            if stream.read_buf(&mut self.bytes).await? == 0 {
                // A fatal error comes before the end, and says more than that there was one.
                return Err(first_error(&self.bytes).unwrap_or(Failure::Closed));
            }
        }
    }
}

async fn log_in(stream: &mut TcpStream, login: &Login) -> Result<(), Failure> {
    stream.write_all(&startup(login)).await?;
    let mut incoming = Incoming::default();
    let (mut first, mut proof) = (None, None);
    loop {
        let (tag, body) = incoming.next(stream).await?;
        let body = &incoming.bytes[body];
        match tag {
            b'Z' => return Ok(()),
            b'E' => return Err(server_error(body)),
            b'R' => {}
            _ => continue,
        }
        let (kind, rest) = body
            .split_first_chunk()
            .ok_or_else(|| Failure::Protocol("short authentication request".into()))?;
        match i32::from_be_bytes(*kind) {
            0 => {}
            10 => {
                let client = ClientFirst::new(ChannelBinding::Unsupported).map_err(scram)?;
                stream.write_all(&sasl_initial(&client)).await?;
                first = Some(client);
            }
            11 => {
                let challenge = first
                    .take()
                    .ok_or_else(|| Failure::Protocol("SASL out of order".into()))?
                    .challenge(rest)
                    .map_err(scram)?;
                let keys = login.keys(challenge.salt(), challenge.iterations());
                let (message, awaited) = challenge.respond(&keys);
                stream
                    .write_all(&password_message(message.as_bytes()))
                    .await?;
                proof = Some(awaited);
            }
            12 => proof
                .take()
                .ok_or_else(|| Failure::Protocol("SASL out of order".into()))?
                .verify(rest)
                .map_err(scram)?,
            other => {
                return Err(Failure::Protocol(format!(
                    "authentication request {other}, only SCRAM is spoken here"
                )));
            }
        }
    }
}

fn scram(error: pgweir::auth::scram_client::ScramError) -> Failure {
    Failure::Protocol(error.to_string())
}

fn startup(login: &Login) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in [
        "user",
        &login.user,
        "database",
        &login.database,
        "application_name",
        "load-test",
    ] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut packet = length(body.len());
    packet.extend_from_slice(&body);
    packet
}

fn sasl_initial(client: &ClientFirst) -> Vec<u8> {
    let message = client.message();
    let mut body = client.mechanism().as_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&length(message.len() - 4));
    body.extend_from_slice(message.as_bytes());
    password_message(&body)
}

fn password_message(body: &[u8]) -> Vec<u8> {
    let mut packet = vec![b'p'];
    packet.extend_from_slice(&length(body.len()));
    packet.extend_from_slice(body);
    packet
}

/// A length word that counts itself. Everything here is far below 4 GiB.
fn length(body: usize) -> Vec<u8> {
    u32::try_from(body + 4)
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec()
}

fn extended(sql: &str, parameters: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sql.len() + 96);
    encode::parse(&mut out, b"", sql.as_bytes(), &[0, 0]);
    let values: usize = parameters.iter().map(|text| 4 + text.len()).sum();
    encode::bind_head(&mut out, b"", b"", 2 + 2 + values + 2);
    out.extend_from_slice(&[0, 0]); // all parameters as text
    out.extend_from_slice(&(parameters.len() as u16).to_be_bytes()); // a handful
    for text in parameters {
        out.extend_from_slice(&(text.len() as u32).to_be_bytes()); // numbers and nonces
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&[0, 0]); // and so the answer
    out.extend_from_slice(b"D\0\0\0\x06P\0");
    out.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
    out.extend_from_slice(encode::SYNC);
    out
}

/// All messages up to ReadyForQuery.
pub struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    /// The rows' values, NULL as nothing; a malformed row is an empty one.
    pub fn rows(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        messages(&self.bytes)
            .filter(|(tag, _)| *tag == b'D')
            .map(|(_, body)| {
                let values = backend::data_row(body).unwrap_or_default();
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                values
                    .into_iter()
                    .map(|value| value.map(text).unwrap_or_default())
                    .collect()
            })
    }

    /// The names of the columns, as RowDescription has them.
    pub fn columns(&self) -> Vec<String> {
        let Some((_, body)) = messages(&self.bytes).find(|(tag, _)| *tag == b'T') else {
            return Vec::new();
        };
        let mut rest = body.get(2..).unwrap_or_default();
        let mut names = Vec::new();
        // A name, and 18 bytes about it.
        while let Some(end) = rest.iter().position(|&byte| byte == 0) {
            names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            rest = rest.get(end + 19..).unwrap_or_default();
        }
        names
    }

    fn error(&self) -> Option<Failure> {
        first_error(&self.bytes)
    }
}

fn first_error(bytes: &[u8]) -> Option<Failure> {
    messages(bytes)
        .find(|(tag, _)| *tag == b'E')
        .map(|(_, body)| server_error(body))
}

fn server_error(body: &[u8]) -> Failure {
    let fields = backend::error_fields(body);
    Failure::Server {
        code: String::from_utf8_lossy(fields.code).into_owned(),
        message: String::from_utf8_lossy(fields.message).into_owned(),
    }
}

/// The whole messages in `bytes`.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let header = frame::header(bytes).ok().flatten()?;
        let (message, rest) = bytes.split_at_checked(header.total)?;
        bytes = rest;
        Some((header.tag, &message[frame::HEADER..]))
    })
}
