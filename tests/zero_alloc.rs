//! In the steady state a query costs no allocation: not in the session's state machine, not in the
//! pool's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgweir::config::SessionStatePolicy;
use pgweir::pool::core::fair::{Claim, Priority};
use pgweir::pool::core::{Checkout, Core, Granted, Limits};
use pgweir::protocol::encode;
use pgweir::session::client::ClientState;
use pgweir::session::detached::{self, Wants};
use pgweir::session::lane::Lane;
use pgweir::session::link::{Exchange, Link, Rules};
use pgweir::session::reported::Reported;
use pgweir::session::server::ServerState;
use pgweir::session::settings::Settings;
use pgweir::session::statement::Registry;
use pgweir::statement_stats::{Owner, Statements};
use pgweir::worker::Home;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract;
// counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps GlobalAlloc's contract, which is System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from System.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn feed(lane: &mut Lane, bytes: &[u8]) {
    lane.space()[..bytes.len()].copy_from_slice(bytes);
    lane.filled(bytes.len());
}

fn drain(lane: &mut Lane) -> usize {
    let mut total = 0;
    while !lane.pending().is_empty() {
        let n = lane.pending().len();
        lane.written(n);
        total += n;
    }
    total
}

struct Session {
    client: ClientState,
    server: ServerState,
    x: Exchange,
    registry: Registry,
    statements: Statements,
    owner: Owner,
}

impl Session {
    fn new() -> Session {
        let reported = Reported::new(vec![("TimeZone".into(), "UTC".into())]);
        let statements = Statements::new(1);
        statements.set_most(100);
        Session {
            statements,
            owner: Owner::new(&"app".into(), &"app".into()),
            client: ClientState::new(Settings::default(), reported.clone()),
            server: ServerState::new(reported, 100),
            x: Exchange::new(16 * 1024, 64 * 1024),
            registry: Registry::default(),
        }
    }

    /// One transaction from request to release.
    fn transaction(&mut self, request: &[u8], answer: &[u8]) {
        let rules = Rules {
            registry: &self.registry,
            session_state: SessionStatePolicy::Pin,
            statements_only: false,
            cache: None,
            max_packet_size: usize::MAX,
            no_simple_queries: false,
            counted: self.statements.counted(Home::Worker(0), &self.owner),
        };
        feed(&mut self.x.up, request);
        let wants = detached::requests(&mut self.client, &mut self.x, rules).unwrap();
        assert_eq!(wants, Wants::Server);
        let mut link = Link {
            client: &mut self.client,
            server: &mut self.server,
            x: &mut self.x,
            rules,
        };
        link.attached();
        link.requests().unwrap();
        assert!(drain(&mut link.x.up) > 0);
        feed(&mut link.x.down, answer);
        link.answers().unwrap();
        assert!(drain(&mut link.x.down) > 0);
        assert!(self.server.is_idle());
        self.x.detach();
    }

    /// Allocations of one transaction after a warm-up.
    fn steady(&mut self, warm_up: &[u8], request: &[u8], first: &[u8], answer: &[u8]) -> usize {
        for _ in 0..3 {
            self.transaction(warm_up, first);
        }
        for _ in 0..10 {
            self.transaction(request, answer);
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..1000 {
            self.transaction(request, answer);
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    }
}

fn rows(out: &mut Vec<u8>) {
    encode::data_row(out, &[Some("1".into())]);
    encode::command_complete(out, "SELECT 1");
    encode::ready_for_query(out, b'I');
}

/// One test, because the counter counts for the whole process.
#[test]
fn a_query_allocates_nothing() {
    let mut simple = Vec::new();
    encode::query(
        &mut simple,
        b"SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
    );
    let mut answer = Vec::new();
    rows(&mut answer);
    let n = Session::new().steady(&simple, &simple, &answer, &answer);
    assert_eq!(n, 0, "allocations in 1000 simple queries");
    assert_eq!(texts_of_one_statement(), 0, "allocations in 1000 texts");

    let mut extended = Vec::new();
    encode::parse(
        &mut extended,
        b"",
        b"SELECT abalance FROM t WHERE aid = $1",
        b"\0\0",
    );
    encode::bind_head(&mut extended, b"", b"", 6);
    extended.extend_from_slice(&[0; 6]);
    extended.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
    extended.extend_from_slice(encode::SYNC);
    let mut parsed = [encode::PARSE_COMPLETE, encode::BIND_COMPLETE].concat();
    rows(&mut parsed);
    let mut bound = encode::BIND_COMPLETE.to_vec();
    rows(&mut bound);
    let mut session = Session::new();
    // Native the first time, named the second, held from then on.
    session.transaction(&extended, &parsed);
    session.transaction(&extended, &parsed);
    let before = session.x.tally.server_parses;
    for _ in 0..10 {
        session.transaction(&extended, &bound);
    }
    assert_eq!(
        session.x.tally.server_parses, before,
        "it is not parsed again"
    );
    let counted = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..1000 {
        session.transaction(&extended, &bound);
    }
    let n = ALLOCATIONS.load(Ordering::Relaxed) - counted;
    assert_eq!(n, 0, "allocations in 1000 extended queries");
    assert_eq!(pool(), 0, "allocations in 1000 waits for a connection");
}

/// Texts that come once, of a statement that the statistics know.
fn texts_of_one_statement() -> usize {
    let mut answer = Vec::new();
    rows(&mut answer);
    let mut session = Session::new();
    let text = |session: &mut Session, n: usize| {
        let mut query = Vec::new();
        let sql = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {n};");
        encode::query(&mut query, sql.as_bytes());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        session.transaction(&query, &answer);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    for n in 0..10 {
        text(&mut session, n);
    }
    let count = (10..1010).map(|n| text(&mut session, n)).sum();
    let top = session.statements.top(9);
    assert_eq!((top.len(), top[0].calls), (1, 1010));
    count
}

/// Checkout, wait, release and hand-over.
fn pool() -> usize {
    let limits = Limits {
        size: 1,
        reserve: 0,
        reserve_timeout: Duration::ZERO,
        max_queue: 0,
        patience: Duration::from_millis(5),
        max_connecting: 1,
        round_robin: false,
    };
    let mut core: Core<u32, u32> = Core::new(limits, 2);
    let now = Instant::now();
    assert_eq!(core.start_connecting(now, 1), 1);
    core.connected(0, 7, now);
    let mut count = 0;
    for round in 0..1010 {
        if round == 10 {
            count = ALLOCATIONS.load(Ordering::Relaxed);
        }
        let Checkout::Ready(server) = core.checkout(0, now, &1, |_| true) else {
            panic!("it was idle");
        };
        let Checkout::Wait(ticket) = core.checkout(0, now, &2, |_| true) else {
            panic!("it is lent");
        };
        assert_eq!(core.release(0, server, now), Some(2));
        assert_eq!(core.take(ticket), Granted::Server(7));
        // One with a claim, after whom another one has left the queue.
        let claim = |party| Claim {
            priority: Priority::Background,
            party,
        };
        let due = core.wait_as(Some(claim(1)), 1, now, &3);
        let gone = core.wait_as(Some(claim(2)), 0, now, &4);
        assert_eq!(core.cancel(gone), None);
        assert_eq!(core.release(0, 7, now), Some(3));
        assert_eq!(core.take(due), Granted::Server(7));
        core.release(0, 7, now);
    }
    ALLOCATIONS.load(Ordering::Relaxed) - count
}
