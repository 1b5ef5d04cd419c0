//! Relay workers: threads that each run one reactor, and the clients that live there.
//!
//! A client stays on its worker for life. Everything that takes long or computes much (logins,
//! connecting, cleaning, the console) happens on the control runtime instead, so that it never
//! delays a query.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::RuntimeMetrics;
use tokio::sync::mpsc;

use crate::client::task::{Active, ClientTask};
use crate::session::buffer::Buffer;

/// The reactor that a socket is registered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Control,
    Worker(u16),
}

impl Home {
    /// A dense number: workers from 0, control last.
    pub fn index(self, workers: usize) -> usize {
        match self {
            Home::Control => workers,
            Home::Worker(n) => usize::from(n),
        }
    }
}

/// What a worker's clients share.
#[derive(Debug)]
pub struct Worker {
    pub number: u16,
    /// State for clients that are not idle; kept when a client becomes idle.
    // Boxed, so that taking one moves a pointer and not its whole state.
    #[allow(clippy::vec_box)]
    spare: Mutex<Vec<Box<Active>>>,
    /// What servers' answers are read into: for clients that have a server connection only, so that
    /// these few stay in the processor's caches however many clients wait.
    buffers: Mutex<Vec<Buffer>>,
    clients: AtomicUsize,
}

/// So many spare [`Active`]s and buffers are kept; more are given back to the allocator.
const SPARE_MAX: usize = 256;
/// Bytes read at once from a server.
const DOWN_BUFFER: usize = 64 * 1024;

impl Worker {
    pub fn home(&self) -> Home {
        Home::Worker(self.number)
    }

    pub fn take_active(&self) -> Box<Active> {
        self.spare.lock().pop().unwrap_or_default()
    }

    pub fn give_active(&self, mut active: Box<Active>) {
        active.clear();
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_MAX {
            spare.push(active);
        }
    }

    pub fn take_buffer(&self) -> Buffer {
        let spare = self.buffers.lock().pop();
        spare.unwrap_or_else(|| Buffer::new(DOWN_BUFFER))
    }

    pub fn give_buffer(&self, buffer: Buffer) {
        let mut buffers = self.buffers.lock();
        if buffers.len() < SPARE_MAX {
            buffers.push(buffer);
        }
    }

    /// A client that lived here, or was to, is gone.
    pub fn left(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Clients that live here.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

/// A running worker thread.
#[derive(Debug)]
struct Running {
    worker: Arc<Worker>,
    inbox: mpsc::UnboundedSender<ClientTask>,
    metrics: RuntimeMetrics,
    thread: Option<JoinHandle<()>>,
}

/// All workers.
#[derive(Debug)]
pub struct Workers(Vec<Running>);

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// What the system says about threads or reactors.
    pub fn start(count: usize) -> io::Result<Workers> {
        let count = u16::try_from(count.max(1)).unwrap_or(u16::MAX);
        (0..count)
            .map(start_one)
            .collect::<io::Result<_>>()
            .map(Workers)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For how long each has not just waited, since it was started. In it is all that its thread does for
    /// clients and servers, system calls included.
    pub fn busy(&self) -> impl Iterator<Item = Duration> {
        let metrics = self.0.iter().map(|running| &running.metrics);
        metrics.map(|metrics| metrics.worker_total_busy_duration(0))
    }

    /// The worker with the fewest clients.
    pub fn pick(&self) -> Arc<Worker> {
        let fewest = self.0.iter().min_by_key(|r| r.worker.clients());
        // start() makes at least one.
        let running = fewest.unwrap_or(&self.0[0]);
        running.worker.clients.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&running.worker)
    }

    /// Hands a client over to the worker that was picked for it.
    pub fn send(&self, task: ClientTask) {
        let number = usize::from(task.worker().number);
        // Fails only when the thread is gone, that is at shutdown; the client is closed then.
        let _ = self.0[number].inbox.send(task);
    }

    /// Ends all threads; clients that are still there are closed.
    pub fn stop(self) {
        for running in self.0 {
            drop(running.inbox);
            if let Some(thread) = running.thread {
                let _ = thread.join();
            }
        }
    }
}

fn start_one(number: u16) -> io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let metrics = runtime.metrics();
    let (inbox, mut arrivals) = mpsc::unbounded_channel::<ClientTask>();
    let worker = Arc::new(Worker {
        number,
        spare: Mutex::new(Vec::new()),
        buffers: Mutex::new(Vec::new()),
        clients: AtomicUsize::new(0),
    });
    let thread = std::thread::Builder::new()
        .name(format!("relay-{number}"))
        .spawn(move || {
            runtime.block_on(async move {
                while let Some(mut task) = arrivals.recv().await {
                    if task.arrive().is_ok() {
                        // The task as it is: small, because most of them are idle.
                        tokio::spawn(task);
                    }
                }
            });
        })?;
    Ok(Running {
        worker,
        inbox,
        metrics,
        thread: Some(thread),
    })
}
