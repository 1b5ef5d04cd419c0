//! Faults on the wire: a proxy that passes bytes on, until it is told to be late, to lose or stall a
//! direction, to drip, to cut or to reset. Threads, one for each direction of a connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What becomes of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// Each piece comes so much later.
    Late(Duration),
    /// Byte by byte, so much apart.
    Drip(Duration),
    /// Read, and never passed on: one half of the connection is dead, and nobody is told.
    Lost,
    /// Not even read: the sender's buffers fill up.
    Stalled,
    /// This many bytes of each connection pass; then it is closed on both sides.
    Cut(u64),
    /// The same, and closed by a reset.
    Reset(u64),
}

/// Where a connection's bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who has connected.
    There,
    /// To who has connected.
    Back,
}

struct Shared {
    target: u16,
    fates: Mutex<[Fate; 2]>,
    /// New connections are accepted and closed at once.
    refuses: AtomicBool,
    stop: AtomicBool,
    pairs: Mutex<Vec<Arc<Pair>>>,
    accepted: AtomicU64,
}

/// The two sockets of a connection.
struct Pair {
    near: TcpStream,
    far: TcpStream,
    resets: AtomicBool,
}

impl Pair {
    /// Its sockets are closed when both threads have seen the end that they see now.
    fn reset(&self) {
        self.resets.store(true, Ordering::Relaxed);
        for end in [&self.near, &self.far] {
            let _ = socket2::SockRef::from(end).set_linger(Some(Duration::ZERO));
            let _ = end.shutdown(Shutdown::Read);
        }
    }

    fn close(&self) {
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Proxy {
    /// In front of a port of this machine.
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target,
            fates: Mutex::new([Fate::Pass; 2]),
            refuses: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            pairs: Mutex::default(),
            accepted: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    let _ = Shared::join(&accepting, stream);
                }
            }
        });
        Proxy { port, shared }
    }

    /// From now on, for the connections there are and those to come.
    pub fn set(&self, way: Way, fate: Fate) {
        locked(&self.shared.fates)[way as usize] = fate;
    }

    pub fn heal(&self) {
        self.set(Way::There, Fate::Pass);
        self.set(Way::Back, Fate::Pass);
        self.shared.refuses.store(false, Ordering::Relaxed);
    }

    /// Connections to come are closed as soon as they are there.
    pub fn refuse(&self) {
        self.shared.refuses.store(true, Ordering::Relaxed);
    }

    /// Resets all connections there are.
    pub fn reset_all(&self) {
        let pairs = std::mem::take(&mut *locked(&self.shared.pairs));
        pairs.iter().for_each(|pair| pair.reset());
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.heal();
        locked(&self.shared.pairs).drain(..).for_each(|p| p.close());
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn join(shared: &Arc<Shared>, near: TcpStream) -> io::Result<()> {
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        if shared.refuses.load(Ordering::Relaxed) {
            return Ok(());
        }
        let far = TcpStream::connect(("127.0.0.1", shared.target))?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let resets = AtomicBool::new(false);
        let pair = Arc::new(Pair { near, far, resets });
        locked(&shared.pairs).push(Arc::clone(&pair));
        for way in [Way::There, Way::Back] {
            let (shared, pair) = (Arc::clone(shared), Arc::clone(&pair));
            thread::spawn(move || shared.pump(way, &pair));
        }
        Ok(())
    }

    fn fate(&self, way: Way) -> Fate {
        locked(&self.fates)[way as usize]
    }

    /// Waits as long as nothing moves; gives what then is to become of what has been read.
    fn stall(&self, way: Way) -> Fate {
        loop {
            match self.fate(way) {
                Fate::Stalled if !self.stop.load(Ordering::Relaxed) => {
                    thread::sleep(Duration::from_millis(5));
                }
                fate => return fate,
            }
        }
    }

    fn pump(&self, way: Way, pair: &Arc<Pair>) {
        let (mut from, to) = match way {
            Way::There => (&pair.near, &pair.far),
            Way::Back => (&pair.far, &pair.near),
        };
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        loop {
            self.stall(way);
            let n = from.read(&mut buffer).unwrap_or(0);
            let fate = self.stall(way);
            if n == 0 {
                break;
            }
            if pass(fate, &buffer[..n], &mut passed, to).is_err() {
                self.forget(pair);
                return match fate {
                    Fate::Reset(_) => pair.reset(),
                    _ => pair.close(),
                };
            }
        }
        // A direction that is lost does not tell of its end either.
        if self.fate(way) != Fate::Lost {
            self.forget(pair);
            if !pair.resets.load(Ordering::Relaxed) {
                let _ = to.shutdown(Shutdown::Write);
            }
        }
    }

    /// What is kept stays open.
    fn forget(&self, pair: &Arc<Pair>) {
        locked(&self.pairs).retain(|kept| !Arc::ptr_eq(kept, pair));
    }
}

fn pass(fate: Fate, bytes: &[u8], passed: &mut u64, mut to: &TcpStream) -> io::Result<()> {
    let before = *passed;
    *passed += bytes.len() as u64;
    match fate {
        Fate::Pass | Fate::Stalled => to.write_all(bytes),
        Fate::Late(delay) => {
            thread::sleep(delay);
            to.write_all(bytes)
        }
        Fate::Drip(pause) => bytes.iter().try_for_each(|byte| {
            thread::sleep(pause);
            to.write_all(&[*byte])
        }),
        Fate::Lost => Ok(()),
        Fate::Cut(limit) | Fate::Reset(limit) => {
            let room = limit.saturating_sub(before).min(bytes.len() as u64) as usize;
            to.write_all(&bytes[..room])?;
            match room == bytes.len() {
                true => Ok(()),
                false => Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }
}
