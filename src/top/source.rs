//! The connection to the console: made when it is needed, made again when it is lost.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::options::{Options, Target, TopError, explained};
use super::table::{Snapshot, Table};
use crate::config::tls::TlsChoice;
use crate::config::{ServerTls, SslMode, TlsProtocols};
use crate::net::stream::{Socket, Stream};
use crate::net::tls_client::TlsClient;

/// SSLRequest (PostgreSQL docs, "Message Formats"): length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// For a login, and for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Source {
    target: Target,
    tls: Arc<TlsClient>,
    client: Option<Client>,
    /// What answers, in its own words.
    pub version: String,
    /// Commands that this console does not know.
    unknown: BTreeSet<&'static str>,
}

impl Source {
    pub fn new(options: &Options) -> Result<Source, TopError> {
        let target = options.target(|name| std::env::var(name).ok())?;
        let tls = TlsClient::new(&ServerTls {
            mode: options.sslmode,
            protocols: TlsProtocols {
                tls12: true,
                tls13: true,
            },
            choice: TlsChoice::default(),
            ca_file: options.sslrootcert.clone(),
            key_file: None,
            cert_file: None,
        });
        let tls = tls.map_err(|error| TopError::Connection(error.to_string()))?;
        Ok(Source {
            target,
            tls: Arc::new(tls),
            client: None,
            version: String::new(),
            unknown: BTreeSet::new(),
        })
    }

    pub fn name(&self) -> String {
        self.target.name()
    }

    /// Asks for all of them; what the console does not know is left out.
    pub async fn ask(&mut self, commands: &[&'static str]) -> Result<Snapshot, String> {
        let asked = tokio::time::timeout(PATIENCE, self.try_ask(commands)).await;
        let asked = asked.unwrap_or_else(|_| Err("no answer for 10 seconds".to_owned()));
        if asked.is_err() {
            self.client = None;
        }
        asked
    }

    async fn try_ask(&mut self, commands: &[&'static str]) -> Result<Snapshot, String> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect().await?,
        };
        let mut snapshot = Snapshot {
            at: Instant::now(),
            tables: Default::default(),
        };
        for command in commands {
            if self.unknown.contains(command) {
                continue;
            }
            match client.simple_query(command).await {
                Ok(messages) => {
                    snapshot.tables.insert(command, read(&messages));
                }
                Err(error) if error.as_db_error().is_some() && !client.is_closed() => {
                    self.unknown.insert(command);
                }
                Err(error) => return Err(explained(&error)),
            }
        }
        self.client = Some(client);
        Ok(snapshot)
    }

    async fn connect(&mut self) -> Result<Client, String> {
        let stream = self.stream().await;
        let stream = stream.map_err(|error| format!("{}: {error}", self.target.name()))?;
        let (client, connection) = self
            .target
            .login
            .connect_raw(stream, NoTls)
            .await
            .map_err(|error| format!("{}: {}", self.target.name(), explained(&error)))?;
        // Its end is seen by whoever asks next.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        self.unknown.clear();
        let version = client.simple_query("SHOW VERSION").await;
        let version = version.map_err(|error| explained(&error))?;
        let version = read(&version);
        let version = version.rows.first().and_then(|row| row.first()?.clone());
        self.version = version.unwrap_or_default();
        Ok(client)
    }

    async fn stream(&self) -> io::Result<Stream> {
        let port = self.target.port;
        let host = match &self.target.host {
            Host::Tcp(host) => host,
            Host::Unix(directory) => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                let socket = UnixStream::connect(path).await?;
                return Ok(Stream::Plain(Socket::Unix(socket)));
            }
        };
        let mut socket = TcpStream::connect((&**host, port)).await?;
        socket.set_nodelay(true)?;
        if self.tls.mode() == SslMode::Disable {
            return Ok(Stream::Plain(Socket::Tcp(socket)));
        }
        socket.write_all(&SSL_REQUEST).await?;
        match socket.read_u8().await? {
            b'S' => {
                let ip = socket.peer_addr()?.ip();
                self.tls.handshake(Socket::Tcp(socket), host, ip).await
            }
            b'N' if self.tls.mode() == SslMode::Prefer => Ok(Stream::Plain(Socket::Tcp(socket))),
            b'N' => Err(io::Error::other("it does not speak TLS")),
            _ => Err(io::Error::other("this is no PostgreSQL protocol")),
        }
    }
}

fn read(messages: &[SimpleQueryMessage]) -> Table {
    let mut table = Table::default();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                table.columns = columns.iter().map(|c| c.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                table.rows.push(values.collect());
            }
            _ => {}
        }
    }
    table
}
