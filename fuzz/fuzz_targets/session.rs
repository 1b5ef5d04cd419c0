#![no_main]
//! A client and a server that say anything, in any order, through the session's state machine. It
//! must not panic, and must not hold more than its bounds.

use libfuzzer_sys::fuzz_target;
use pgweir::config::SessionStatePolicy;
use pgweir::session::client::ClientState;
use pgweir::session::detached;
use pgweir::session::lane::Lane;
use pgweir::session::link::{Exchange, Link, Rules};
use pgweir::session::reported::Reported;
use pgweir::session::server::ServerState;
use pgweir::session::settings::Settings;
use pgweir::session::statement::Registry;
use pgweir::statement_stats::{Owner, Statements};
use pgweir::worker::Home;

fn feed(lane: &mut Lane, bytes: &[u8]) {
    let n = lane.space().len().min(bytes.len());
    lane.space()[..n].copy_from_slice(&bytes[..n]);
    lane.filled(n);
}

fn drain(lane: &mut Lane) {
    while !lane.pending().is_empty() {
        let n = lane.pending().len();
        lane.written(n);
    }
}

fuzz_target!(|data: &[u8]| {
    let reported = Reported::new(vec![("TimeZone".into(), "UTC".into())]);
    let mut client = ClientState::new(Settings::default(), reported.clone());
    let mut server = ServerState::new(reported, 2);
    let mut x = Exchange::new(256, 256);
    let registry = Registry::default();
    let (statements, owner) = (Statements::new(1), Owner::new(&"app".into(), &"app".into()));
    statements.set_most(8);
    let rules = Rules {
        registry: &registry,
        session_state: match data.first() {
            Some(0) => SessionStatePolicy::Reject,
            _ => SessionStatePolicy::Pin,
        },
        statements_only: data.first() == Some(&1),
        cache: None,
        max_packet_size: 4096,
        no_simple_queries: data.first() == Some(&2),
        counted: statements.counted(Home::Worker(0), &owner),
    };
    let mut rest = data;
    let mut attached = false;
    while let Some((&op, after)) = rest.split_first() {
        let n = usize::from(op >> 2).min(after.len());
        let (bytes, after) = after.split_at(n);
        rest = after;
        if !attached {
            feed(&mut x.up, bytes);
            match detached::requests(&mut client, &mut x, rules) {
                Ok(detached::Wants::Server) => attached = true,
                Ok(_) => {}
                Err(_) => return,
            }
            drain(&mut x.down);
            continue;
        }
        let mut link = Link {
            client: &mut client,
            server: &mut server,
            x: &mut x,
            rules,
        };
        if op & 1 == 0 {
            feed(&mut link.x.up, bytes);
            if link.requests().is_err() {
                return;
            }
        } else {
            feed(&mut link.x.down, bytes);
            if link.answers().is_err() {
                return;
            }
        }
        if op & 2 == 0 {
            drain(&mut x.up);
            drain(&mut x.down);
        }
        if server.is_idle() && !x.group.open && !x.retry && x.up.pending_len() == 0 {
            x.detach();
            attached = false;
        }
    }
});
