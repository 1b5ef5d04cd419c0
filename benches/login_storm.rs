//! What running queries feel of many logins at once. It measures, so it has to have the machine to itself:
//!
//! ```sh
//! cargo bench --bench login_storm
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Pgweir, Postgres, Wire, message, startup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const STORM: usize = 2000;
const RUNNERS: usize = 4;

/// Passwords in clear, so that all the hashing is pgweir's: a client with SCRAM does half of it itself.
fn weir(pg_port: u16) -> Pgweir {
    Pgweir::with_config(&format!(
        "max_client_conn = 5000\nunix_socket_dir = ''\n[log]\nconnections = false\n\
         disconnections = false\n[auth]\ntype = 'plain'\nallow_cleartext = true\n\
         [pools.'*']\nhost = '127.0.0.1'\nport = {pg_port}\n[users.postgres]\npassword = 'right'\n"
    ))
}

fn log_in(port: u16) -> Wire {
    let mut wire = Wire::raw(port).unwrap();
    let pairs = [("user", "postgres"), ("database", "postgres")];
    wire.send(&startup(3 << 16, &pairs)).unwrap();
    assert_eq!(wire.read_message().unwrap().tag, b'R');
    wire.send(&message(b'p', b"right\0")).unwrap();
    assert_eq!(wire.answer().status(), Some('I'));
    wire
}

/// One login; how long it took. The connection stays open until all are in.
async fn storm_login(port: u16) -> std::io::Result<(TcpStream, Duration)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let pairs = [("user", "postgres"), ("database", "postgres")];
    stream.write_all(&startup(3 << 16, &pairs)).await?;
    // AuthenticationCleartextPassword.
    stream.read_exact(&mut [0; 9]).await?;
    stream.write_all(&message(b'p', b"right\0")).await?;
    let mut seen = Vec::new();
    // ReadyForQuery comes last.
    while !seen.ends_with(&[b'Z', 0, 0, 0, 5, b'I']) {
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((stream, began.elapsed()))
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len() - 1;
    sorted[(last as f64 * share) as usize]
}

/// Latencies of queries while `during` runs, in order.
fn measure(port: u16, during: impl FnOnce()) -> Vec<Duration> {
    let over = Arc::new(AtomicBool::new(false));
    let runners: Vec<_> = (0..RUNNERS)
        .map(|_| {
            let over = Arc::clone(&over);
            let mut wire = log_in(port);
            std::thread::spawn(move || {
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    assert_eq!(wire.query("select 1").value(), "1");
                    took.push(began.elapsed());
                    std::thread::sleep(Duration::from_millis(1));
                }
                took
            })
        })
        .collect();
    during();
    over.store(true, Ordering::Relaxed);
    let took = runners.into_iter().flat_map(|r| r.join().unwrap());
    let mut took: Vec<Duration> = took.collect();
    took.sort_unstable();
    took
}

fn main() {
    let pid = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=16384"])
        .status();
    assert!(raised.unwrap().success());
    let pg = Postgres::start();
    let weir = weir(pg.port);
    let port = weir.port;
    let calm = measure(port, || std::thread::sleep(Duration::from_secs(5)));
    let mut logins = Vec::new();
    let busy = measure(port, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        logins = runtime.block_on(async {
            let all: Vec<_> = (0..STORM)
                .map(|_| tokio::spawn(storm_login(port)))
                .collect();
            let mut took = Vec::new();
            let mut open = Vec::new();
            for one in all {
                let (stream, time) = one.await.unwrap().expect("nobody is refused");
                open.push(stream);
                took.push(time);
            }
            took
        });
    });
    logins.sort_unstable();
    let (before, during) = (percentile(&calm, 0.99), percentile(&busy, 0.99));
    println!(
        "{STORM} logins: half within {:?}, all within {:?}",
        percentile(&logins, 0.5),
        percentile(&logins, 1.0)
    );
    println!(
        "queries: p50 {:?} and p99 {before:?} before ({}), p50 {:?} and p99 {during:?} during ({})",
        percentile(&calm, 0.5),
        calm.len(),
        percentile(&busy, 0.5),
        busy.len(),
    );
    println!(
        "p99 during is {:.1} times that before",
        during.as_secs_f64() / before.as_secs_f64()
    );
}
