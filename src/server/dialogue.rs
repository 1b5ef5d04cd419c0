//! What pgweir itself says on a server connection that no client has: checks, resets, look-ups.
//!
//! Never on the hot path, so it reads whole messages into memory, within a bound.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Server;
use crate::protocol::backend;
use crate::protocol::encode;
use crate::protocol::frame::{self, HEADER};
use crate::session::settings::Settings;

/// The largest answer that is accepted.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A row of text values.
pub type Row = Vec<Option<Vec<u8>>>;

#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    #[error("connection to server lost: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] frame::BadLength),
    #[error("unexpected message of type {:?} from server", char::from(*.0))]
    Unexpected(u8),
    #[error("answer of the server is too large")]
    TooLarge,
    #[error("{message} (SQLSTATE {code})")]
    Server { code: String, message: String },
}

impl Server {
    /// Runs `sql` as a simple query; gives the rows of all its results.
    ///
    /// # Errors
    /// After [`DialogueError::Server`] the connection is in step and can go on; after any other
    /// error it must be closed.
    pub async fn simple(&mut self, sql: &str) -> Result<Vec<Row>, DialogueError> {
        let mut out = Vec::new();
        encode::query(&mut out, sql.as_bytes());
        self.state.unnamed = 0;
        self.converse(&out).await
    }

    /// Runs a statement with text parameters by the extended protocol, as the unnamed statement.
    ///
    /// # Errors
    /// As [`Server::simple`].
    pub async fn with_parameters(
        &mut self,
        sql: &str,
        parameters: &[&str],
    ) -> Result<Vec<Row>, DialogueError> {
        let mut out = Vec::new();
        encode::parse(&mut out, b"", sql.as_bytes(), b"\0\0");
        let mut values = Vec::new();
        values.extend_from_slice(&0u16.to_be_bytes());
        values.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for p in parameters {
            let length = i32::try_from(p.len()).map_err(|_| DialogueError::TooLarge)?;
            values.extend_from_slice(&length.to_be_bytes());
            values.extend_from_slice(p.as_bytes());
        }
        values.extend_from_slice(&0u16.to_be_bytes());
        encode::bind_head(&mut out, b"", b"", values.len());
        out.extend_from_slice(&values);
        out.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
        out.extend_from_slice(encode::SYNC);
        self.state.unnamed = 0;
        self.converse(&out).await
    }

    /// Brings the session's settings back to the server's defaults.
    ///
    /// # Errors
    /// As [`Server::simple`].
    pub async fn forget_settings(&mut self) -> Result<(), DialogueError> {
        let default = Settings::default();
        let sql = match &self.state.settings {
            Some(settings) => settings.difference(&default),
            None => default.from_unknown(),
        };
        self.state.settings = None;
        if !sql.is_empty() {
            self.simple(&sql).await?;
        }
        self.state.settings = Some(default);
        Ok(())
    }

    async fn converse(&mut self, out: &[u8]) -> Result<Vec<Row>, DialogueError> {
        self.stream.write_all(out).await?;
        self.stream.flush().await?;
        self.until_ready().await
    }

    /// Reads up to the next ReadyForQuery.
    ///
    /// # Errors
    /// As [`Server::simple`].
    pub async fn until_ready(&mut self) -> Result<Vec<Row>, DialogueError> {
        let mut rows = Vec::new();
        self.read_up_to_ready(Some(&mut rows)).await?;
        Ok(rows)
    }

    /// The same without keeping any of it: it is somebody else's, and there may be much of it.
    ///
    /// # Errors
    /// As [`Server::simple`].
    pub async fn read_away(&mut self) -> Result<(), DialogueError> {
        self.read_up_to_ready(None).await
    }

    async fn read_up_to_ready(
        &mut self,
        mut rows: Option<&mut Vec<Row>>,
    ) -> Result<(), DialogueError> {
        let mut failed = None;
        let mut buffer = Vec::with_capacity(1024);
        loop {
            let Some(header) = frame::header(&buffer)?.filter(|h| buffer.len() >= h.total) else {
                if buffer.len() > ANSWER_MAX {
                    return Err(DialogueError::TooLarge);
                }
                if self.stream.read_buf(&mut buffer).await? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
                continue;
            };
            let body = &buffer[HEADER..header.total];
            match header.tag {
                b'Z' => {
                    self.state.status = body.first().copied().unwrap_or(b'E');
                    return failed.map_or(Ok(()), Err);
                }
                b'D' => {
                    if let (Some(rows), Some(row)) = (&mut rows, backend::data_row(body)) {
                        let own = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
                        rows.push(row.into_iter().map(own).collect());
                    }
                }
                b'E' => {
                    let fields = backend::error_fields(body);
                    failed = Some(DialogueError::Server {
                        code: String::from_utf8_lossy(fields.code).into_owned(),
                        message: String::from_utf8_lossy(fields.message).into_owned(),
                    });
                }
                b'S' => {
                    if let Some((name, value)) = backend::parameter_status(body) {
                        self.state.reported = self.state.reported.with(&name, &value);
                    }
                }
                b'1' | b'2' | b'3' | b'C' | b'I' | b'N' | b'T' | b'n' | b't' | b'A' | b's'
                | b'd' | b'c' | b'H' => {}
                tag => return Err(DialogueError::Unexpected(tag)),
            }
            buffer.drain(..header.total);
        }
    }
}
