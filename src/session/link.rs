//! What exists while a client and a server connection are linked, and what their exchange has come
//! to so far.

use std::sync::Arc;

use super::client::ClientState;
use super::counted::Counting;
use super::fault::Fault;
use super::lane::Lane;
use super::memory::Share;
use super::recording::Recording;
use super::server::ServerState;
use super::statement::{Registry, Statement};
use super::told::Told;
use super::upstream::ClientViolation;
use crate::cache::judged::Judged;
use crate::cache::pool::PoolCache;
use crate::config::SessionStatePolicy;
use crate::protocol::frame::Header;
use crate::protocol::sqlstate::Class;
use crate::statement_stats::Counted;

/// A FATAL error: the server is about to close the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    pub code: String,
    pub message: String,
}

/// Where a group of extended-query messages (up to a Sync) stands, so that it can be sent again
/// when a prepared statement turns out to be outdated.
#[derive(Debug, Default)]
pub struct Group {
    /// The client's messages as they came; empty if the group cannot be sent again.
    pub bytes: Vec<u8>,
    /// Set between its first message and its Sync.
    pub open: bool,
    /// Whether it may be sent again as far as its messages go.
    pub repeatable: bool,
    /// The client will learn the shape of the result anew.
    pub describes: bool,
    /// The client has seen an answer that must not be given twice.
    pub answered: bool,
    /// How many ParseCompletes of ours the client has seen.
    pub parses_answered: usize,
    /// ParseCompletes not to be given again.
    pub suppress: usize,
    /// This is the second attempt.
    pub retried: bool,
}

/// What a server connection has done about channels, where it was a client's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelChange {
    Listen(String),
    /// One, or all.
    Unlisten(Option<String>),
}

/// How far a link goes. One that was made for a read ends behind it, so that what comes next is looked at
/// before it is known where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leash {
    /// As far as the client likes.
    #[default]
    None,
    /// One request, and if that begins a block, the block.
    OneRequest,
    /// That request has been sent on.
    Used,
}

/// Counters that the shell takes over into its statistics.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub queries: u32,
    pub transactions: u32,
    pub errors: u32,
    pub client_parses: u32,
    pub server_parses: u32,
    pub binds: u32,
    /// Prepared statements with a name that the server had, or had not, and those that made room.
    pub statement_hits: u32,
    pub statement_misses: u32,
    pub statement_evictions: u32,
    /// Groups of messages that were sent again.
    pub retries: u32,
}

/// The part of a link that exists only while client and server are linked.
#[derive(Debug)]
pub struct Exchange {
    /// Client to server.
    pub up: Lane,
    /// Server to client.
    pub down: Lane,
    /// Open portals whose execution does something to the session.
    pub portals: Vec<(Box<[u8]>, Arc<Statement>)>,
    pub group: Group,
    pub leash: Leash,
    /// What is asked here may write, as far as reads elsewhere must know of it.
    pub may_write: bool,
    /// Nothing may be sent before the settings' replay is answered.
    pub hold: bool,
    /// A Flush was sent, and nothing after it.
    pub flushed: bool,
    /// COPY data that ended before the server was seen to ask for it.
    pub copies_ended: usize,
    /// The server was asked for something of ours at the end of the transaction.
    pub asked_itself: bool,
    /// Ask for pinning state when the transaction is over.
    pub probe: bool,
    /// A statement ran that may have set what we cannot know.
    pub settings_unknown: bool,
    /// Reported settings that were set for the transaction only.
    pub locals: Vec<Box<str>>,
    /// That transaction is over, as far as it has been answered.
    pub locals_over: bool,
    /// What the transaction does about channels, which counts if it is committed. After an error or a
    /// rollback to a savepoint it is forgotten: rather a notification too many than one too few.
    pub channels: Vec<ChannelChange>,
    /// What transactions have done about them.
    pub channels_done: Vec<ChannelChange>,
    /// Settings that were set to what the text does not tell.
    pub ask_values: Vec<String>,
    /// The group in [`Group::bytes`] is to be sent again now.
    pub retry: bool,
    /// The replay of the client's settings failed, with this answer.
    pub replay_error: Option<LastWords>,
    /// Why a `PREPARE` of ours failed, as a whole message: what the `EXECUTE` behind it would say.
    pub prepare_error: Option<Vec<u8>>,
    pub last_words: Option<LastWords>,
    /// The running statement is being cancelled by us: what its error is to say.
    pub cancel_text: Option<&'static str>,
    /// The reply that is being taken down, to be given again.
    pub recording: Option<Box<Recording>>,
    /// What was judged of the next request before the link was made, by which schema.
    pub judged: Option<(u64, Arc<Judged>)>,
    /// What `up` has grown by.
    pub unread: Share,
    pub tally: Tally,
    /// For the statistics of statements.
    pub counting: Counting,
    /// Of the errors in `tally`, in turn.
    pub error_classes: Vec<Class>,
    /// Errors that were given in the server's place.
    pub faults: Vec<Fault>,
    /// For the log and for traces.
    pub told: Told,
}

/// What is the same for all messages of a pool.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    pub registry: &'a Registry,
    pub session_state: SessionStatePolicy,
    /// Statement mode: there are no transactions of several statements.
    pub statements_only: bool,
    /// Where writes are followed.
    pub cache: Option<&'a Arc<PoolCache>>,
    /// Of a message from the client, in bytes.
    pub max_packet_size: usize,
    /// Who sends a simple query is closed (`disable_pqexec`).
    pub no_simple_queries: bool,
    /// Where statements are counted, if they are.
    pub counted: Option<Counted<'a>>,
}

impl Rules<'_> {
    /// Whether a message may be as it is.
    ///
    /// # Errors
    /// [`ClientViolation`]: it is too large, or of a kind that is turned off.
    #[inline]
    pub(super) fn check(&self, header: Header) -> Result<(), ClientViolation> {
        let size = header.total - 1;
        if size > self.max_packet_size {
            let limit = self.max_packet_size;
            return Err(ClientViolation::new(format!(
                "message of {size} bytes is larger than max_packet_size ({limit})"
            )));
        }
        if self.no_simple_queries && header.tag == b'Q' {
            return Err(ClientViolation::new("PQexec disallowed"));
        }
        Ok(())
    }
}

/// A client and the server connection that it has now.
#[derive(Debug)]
pub struct Link<'a> {
    pub client: &'a mut ClientState,
    pub server: &'a mut ServerState,
    pub x: &'a mut Exchange,
    pub rules: Rules<'a>,
}

impl Exchange {
    pub fn new(up: usize, down: usize) -> Exchange {
        Exchange {
            up: Lane::new(up),
            down: Lane::new(down),
            portals: Vec::new(),
            group: Group::default(),
            leash: Leash::None,
            may_write: false,
            hold: false,
            flushed: false,
            copies_ended: 0,
            asked_itself: false,
            probe: false,
            settings_unknown: false,
            locals: Vec::new(),
            locals_over: false,
            channels: Vec::new(),
            channels_done: Vec::new(),
            ask_values: Vec::new(),
            retry: false,
            replay_error: None,
            prepare_error: None,
            last_words: None,
            cancel_text: None,
            recording: None,
            judged: None,
            unread: Share::default(),
            tally: Tally::default(),
            counting: Counting::default(),
            error_classes: Vec::new(),
            faults: Vec::new(),
            told: Told::default(),
        }
    }

    /// Whether the server connection may have been left in a state that is not followed, as long as nobody has asked.
    pub fn is_unsure(&self) -> bool {
        self.probe
            || self.settings_unknown
            || !self.ask_values.is_empty()
            || self.replay_error.is_some()
    }

    /// Forgets what belongs to the server connection that is given up; the client's unread bytes
    /// and those on their way to it stay.
    pub fn detach(&mut self) {
        self.portals.clear();
        self.group.bytes.clear();
        self.group.open = false;
        self.group.suppress = 0;
        self.leash = Leash::None;
        self.may_write = false;
        self.hold = false;
        self.flushed = false;
        self.copies_ended = 0;
        self.asked_itself = false;
        self.probe = false;
        self.settings_unknown = false;
        self.locals.clear();
        self.locals_over = false;
        self.channels.clear();
        self.channels_done.clear();
        self.ask_values.clear();
        self.retry = false;
        self.replay_error = None;
        self.prepare_error = None;
        self.last_words = None;
        self.cancel_text = None;
        self.recording = None;
        self.judged = None;
        self.counting.clear();
        self.told.end();
    }

    /// For the next client.
    pub fn clear(&mut self) {
        self.detach();
        self.tally = Tally::default();
        self.error_classes.clear();
        self.faults.clear();
        self.up.clear();
        self.unread.clear();
        self.down.clear();
    }
}
