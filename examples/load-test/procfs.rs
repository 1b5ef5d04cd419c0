//! What the kernel says about processes: CPU time and memory.

use std::collections::HashMap;
use std::fs;

/// CPU seconds and bytes of memory of one process, or of several together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu: f64,
    pub memory: f64,
}

/// One process, with all its threads.
pub fn process(pid: u32, ticks: f64) -> Option<Usage> {
    let stat = Stat::read(pid)?;
    Some(Usage {
        cpu: stat.own as f64 / ticks,
        memory: status(pid).get("VmRSS").copied().unwrap_or(0.0),
    })
}

/// PostgreSQL: the postmaster and its children, those that have ended included. Memory is what is
/// each one's own, and the shared buffers as far as the process that has touched most of them has.
pub fn postgres(postmaster: u32, ticks: f64) -> Option<Usage> {
    let stat = Stat::read(postmaster)?;
    let mut spent = stat.own + stat.of_ended_children;
    let mut private = status(postmaster).get("RssAnon").copied().unwrap_or(0.0);
    let mut shared: f64 = 0.0;
    for pid in processes() {
        let Some(child) = Stat::read(pid).filter(|stat| stat.parent == postmaster) else {
            continue;
        };
        spent += child.own;
        let memory = status(pid);
        private += memory.get("RssAnon").copied().unwrap_or(0.0);
        shared = shared.max(memory.get("RssShmem").copied().unwrap_or(0.0));
    }
    Some(Usage {
        cpu: spent as f64 / ticks,
        memory: private + shared,
    })
}

/// CPU seconds that all processors together were busy since the machine started.
pub fn machine(ticks: f64) -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let words: Vec<u64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let busy: u64 = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|&at| words.get(at))
        .sum();
    Some(busy as f64 / ticks)
}

/// Number of processors.
pub fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

struct Stat {
    parent: u32,
    own: u64,
    of_ended_children: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        // The command's name may hold anything: fields are counted from its closing parenthesis.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Stat {
            parent: number(1)? as u32, // a process number
            own: number(11)? + number(12)?,
            of_ended_children: number(13)? + number(14)?,
        })
    }
}

/// The sizes in /proc/PID/status, in bytes.
fn status(pid: u32) -> HashMap<String, f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let kilobytes: f64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some((name.to_string(), kilobytes * 1024.0))
        })
        .collect()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194304 1 2 3 4 50 60 70 80 20 0 1 0 5 6 7";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            (stat.parent, stat.own, stat.of_ended_children),
            (3, 110, 150)
        );
    }

    #[test]
    fn this_process_has_memory() {
        assert!(process(std::process::id(), 100.0).unwrap().memory > 100_000.0);
    }
}
