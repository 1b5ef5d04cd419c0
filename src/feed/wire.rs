//! Messages on a feed's own connection.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::FeedError;
use crate::net::stream::Stream;
use crate::protocol::{backend, encode};
use crate::server::connect::Established;

/// So much of a message is kept; the rest of a longer one, a row's values, is read and dropped.
const KEPT: usize = 64 * 1024;
/// So many bytes are read at once.
const CHUNK: usize = 64 * 1024;
/// Rows of an answer that are accepted.
const ROWS_MAX: usize = 1_000_000;
/// Notifications that may come while an answer is waited for.
const WAITING_MAX: usize = 100_000;
/// A question that takes longer is taken for lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One message of the server.
#[derive(Debug)]
pub(super) struct Message {
    pub tag: u8,
    /// Its first [`KEPT`] bytes.
    pub body: Bytes,
    /// Bytes that the whole has.
    pub length: usize,
}

pub(super) type Row = Vec<Option<String>>;

#[derive(Debug)]
pub(super) struct FeedWire {
    stream: Stream,
    inbox: BytesMut,
    /// Bytes of a message that are still to come and to be dropped.
    skip: usize,
    /// What came while an answer was waited for.
    notifications: VecDeque<Message>,
    /// Of the server's process.
    pub pid: i32,
    /// `server_version_num / 10000`.
    pub major: u32,
}

impl FeedWire {
    pub fn new(connected: Established) -> FeedWire {
        let version = connected
            .parameters
            .iter()
            .rfind(|(name, _)| name == "server_version");
        let major = version.and_then(|(_, version)| {
            let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        FeedWire {
            stream: connected.stream,
            inbox: BytesMut::new(),
            skip: 0,
            notifications: VecDeque::new(),
            pid: connected.backend_pid,
            major: major.unwrap_or(0),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next message. May be dropped before it is ready, and called again.
    pub async fn read(&mut self) -> Result<Message, FeedError> {
        loop {
            let dropped = self.skip.min(self.inbox.len());
            self.inbox.advance(dropped);
            self.skip -= dropped;
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.inbox.reserve(CHUNK);
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn take(&mut self) -> Result<Option<Message>, FeedError> {
        if self.skip > 0 {
            return Ok(None);
        }
        let Some((&[tag, a, b, c, d], _)) = self.inbox.split_first_chunk::<5>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let length = length
            .checked_sub(4)
            .filter(|n| *n <= i32::MAX as usize)
            .ok_or_else(|| FeedError::Other(format!("a message of {length} bytes")))?;
        let kept = length.min(KEPT);
        if self.inbox.len() < 5 + kept {
            return Ok(None);
        }
        self.inbox.advance(5);
        let body = self.inbox.split_to(kept).freeze();
        self.skip = length - kept;
        Ok(Some(Message { tag, body, length }))
    }

    /// The next message that is no answer to a question, which one that came during one is, too.
    pub async fn read_event(&mut self) -> Result<Message, FeedError> {
        match self.notifications.pop_front() {
            Some(message) => Ok(message),
            None => self.read().await,
        }
    }

    /// Runs a simple query, and gives the rows of its last result.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Row>, FeedError> {
        let limited = tokio::time::timeout(ANSWER_LIMIT, self.query_unlimited(sql));
        limited.await.map_err(|_| FeedError::Silent(ANSWER_LIMIT))?
    }

    /// The same, for what may have to wait for other transactions.
    pub async fn query_unlimited(&mut self, sql: &str) -> Result<Vec<Row>, FeedError> {
        let mut out = Vec::new();
        encode::query(&mut out, sql.as_bytes());
        self.send(&out).await?;
        let mut rows = Vec::new();
        let mut failed = None;
        loop {
            let message = self.read().await?;
            match message.tag {
                b'Z' => return failed.map_or(Ok(rows), Err),
                b'T' => rows.clear(),
                b'D' if rows.len() < ROWS_MAX => rows.extend(row(&message)),
                b'E' => failed = Some(error(&message)),
                b'A' if self.notifications.len() < WAITING_MAX => {
                    self.notifications.push_back(message);
                }
                b'A' | b'D' => return Err(FeedError::Other("too much to take in".to_owned())),
                _ => {}
            }
        }
    }
}

fn row(message: &Message) -> Option<Row> {
    if message.length > message.body.len() {
        return None;
    }
    let values = backend::data_row(&message.body)?.into_iter();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Some(values.map(|value| value.map(text)).collect())
}

/// An ErrorResponse.
pub(super) fn error(message: &Message) -> FeedError {
    let fields = backend::error_fields(&message.body);
    FeedError::Server {
        code: String::from_utf8_lossy(fields.code).into_owned(),
        message: String::from_utf8_lossy(fields.message).into_owned(),
    }
}
