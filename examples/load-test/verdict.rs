//! What held a stage back, from what was measured and nothing else.

use crate::procfs;
use crate::sample::{Sample, mean, most};

/// From this share on, something counts as used up.
const FULL: f64 = 0.9;

/// One sentence. `think` is the users' mean time to think, 0 for none.
pub fn verdict(samples: &[Sample], think: f64) -> String {
    judge(samples, think, procfs::processors())
}

fn judge(samples: &[Sample], think: f64, processors: f64) -> String {
    if samples.is_empty() {
        return "not measured".into();
    }
    let pooler = mean(samples, |s| s.pooler.cpu);
    let parts = [
        ("PostgreSQL", mean(samples, |s| s.postgres.cpu)),
        ("the pooler", pooler),
        ("the load generator", mean(samples, |s| s.generator.cpu)),
        ("other processes", mean(samples, |s| s.others)),
    ];
    let busy: f64 = parts.iter().map(|(_, cpu)| cpu).sum();
    let waiting = mean(samples, |s| s.console.map_or(0.0, |c| c.waiting));
    let active = mean(samples, |s| s.console.map_or(0.0, |c| c.servers_active));
    let servers = most(samples, |s| s.console.map_or(0.0, |c| c.servers));
    let each: Vec<String> = parts
        .iter()
        .map(|(who, cpu)| format!("{who} {cpu:.2}"))
        .collect();
    let each = each.join(", ");
    let others = parts[3].1;
    if busy >= FULL * processors && others >= busy / 4.0 {
        format!(
            "other processes on the machine, so that this says little about any pooler: {busy:.2} of \
             {processors:.0} processors busy ({each})"
        )
    } else if busy >= FULL * processors {
        format!("the machine's CPU: {busy:.2} of {processors:.0} processors busy ({each})")
    } else if pooler >= FULL {
        format!("the pooler's thread: it used {pooler:.2} of a processor ({each})")
    } else if waiting >= 1.0 && active >= FULL * servers {
        format!(
            "server connections: {active:.0} of {servers:.0} busy, {waiting:.0} clients waiting ({each})"
        )
    } else if think > 0.0 {
        format!(
            "none: the users' time to think decides the rate; {:.2} of {processors:.0} processors idle ({each})",
            processors - busy
        )
    } else {
        format!("waits (locks, round trips): no part was used up ({each})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::Usage;
    use crate::sample::Console;

    #[test]
    fn a_machine_that_others_use_is_told_of() {
        let mut crowded = sample(0.1, 0.1, Console::default());
        crowded.others = 1.8;
        assert!(judge(&[crowded], 1.0, 2.0).starts_with("other processes"));
    }

    fn sample(pooler: f64, postgres: f64, console: Console) -> Sample {
        let usage = |cpu| Usage { cpu, memory: 0.0 };
        Sample {
            pooler: usage(pooler),
            postgres: usage(postgres),
            console: Some(console),
            ..Sample::default()
        }
    }

    #[test]
    fn each_bottleneck_has_its_name() {
        let console = |waiting, servers_active| Console {
            waiting,
            servers_active,
            servers: 100.0,
        };
        let of = |pooler, postgres, console| judge(&[sample(pooler, postgres, console)], 1.0, 2.0);
        assert!(of(0.6, 1.3, console(0.0, 9.0)).starts_with("the machine's CPU"));
        assert!(of(0.95, 0.3, console(0.0, 9.0)).starts_with("the pooler's thread"));
        assert!(of(0.2, 0.3, console(7.0, 99.0)).starts_with("server connections"));
        assert!(of(0.2, 0.3, console(0.0, 9.0)).starts_with("none"));
    }
}
