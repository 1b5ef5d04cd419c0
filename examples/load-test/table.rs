//! The report as text: Markdown tables of all stages.

use std::fmt::Write;

use crate::fit::Fit;
use crate::record::Spread;
use crate::run::{Run, Stage};
use crate::sample::{mean, most};
use crate::work::Kind;

const MIB: f64 = 1024.0 * 1024.0;
/// Share of a soak that memory has to find its level.
const WARM_UP: f64 = 0.2;
/// A soak is measured for longer than this; shorter stages have no line through their memory.
const SOAK_SECONDS: f64 = 55.0;

/// All tables, and the sentences about bottlenecks.
pub fn report(runs: &[Run]) -> String {
    let sections = [
        requests(runs),
        kinds(runs),
        logins(runs),
        resources(runs),
        bottlenecks(runs),
        memory(runs),
        failures(runs),
    ];
    sections.join("\n").replace("NaN", "–")
}

fn each(runs: &[Run]) -> impl Iterator<Item = (&str, &Stage)> {
    runs.iter().flat_map(|run| {
        run.stages
            .iter()
            .map(|stage| (run.target.name.as_str(), stage))
    })
}

fn users(stage: &Stage) -> String {
    let thinking = if stage.is_normal() {
        ""
    } else {
        ", not thinking"
    };
    format!("{}{thinking}", stage.users)
}

/// `add` writes one line or several.
fn table(title: &str, head: &str, add: impl FnOnce(&mut String)) -> String {
    let mut out = format!("### {title}\n\n{head}\n");
    let columns = head.matches('|').count() - 1;
    let rule: Vec<&str> = (0..columns)
        .map(|at| if at < 2 { "---" } else { "---:" })
        .collect();
    let _ = writeln!(out, "| {} |", rule.join(" | "));
    add(&mut out);
    out
}

fn requests(runs: &[Run]) -> String {
    let head = "| users | through | requests/s | p50 ms | p95 | p99 | max | past it: p50 | p95 | added: p50 | p95 | failed | users late p99 |";
    table("Requests", head, |out| {
        for (name, stage) in each(runs) {
            let (all, direct) = (&stage.all, &stage.direct);
            let _ = writeln!(
                out,
                "| {} | {name} | {:.0} | {:.1} | {:.1} | {:.1} | {:.0} | {:.1} | {:.1} | {:+.1} | {:+.1} | {} | {:.1} |",
                users(stage),
                stage.rate(),
                all.p50,
                all.p95,
                all.p99,
                all.max,
                direct.p50,
                direct.p95,
                all.p50 - direct.p50,
                all.p95 - direct.p95,
                stage.failed(),
                stage.late.p99,
            );
        }
    })
}

/// The largest stage at normal load.
fn largest(run: &Run) -> Option<&Stage> {
    run.stages.iter().rev().find(|stage| stage.is_normal())
}

fn kinds(runs: &[Run]) -> String {
    let head = "| request | through | answers | p50 ms | p95 | p99 | max | past it: p50 | p95 |";
    let count = runs.iter().find_map(largest).map_or(0, |stage| stage.users);
    table(&format!("By kind, {count} users"), head, |out| {
        for kind in Kind::ALL {
            for run in runs {
                let Some(stage) = largest(run) else { continue };
                let (all, direct) = (
                    stage.kinds.get(kind as usize).copied().unwrap_or_default(),
                    stage
                        .direct_kinds
                        .get(kind as usize)
                        .copied()
                        .unwrap_or_default(),
                );
                let Spread {
                    count,
                    p50,
                    p95,
                    p99,
                    max,
                } = all;
                let _ = writeln!(
                    out,
                    "| {} | {} | {count} | {p50:.1} | {p95:.1} | {p99:.1} | {max:.0} | {:.1} | {:.1} |",
                    kind.name(),
                    run.target.name,
                    direct.p50,
                    direct.p95
                );
            }
        }
    })
}

fn logins(runs: &[Run]) -> String {
    let head = "| users | through | came at once | all in after s | login p50 ms | p99 | max | others' requests meanwhile | p50 ms | p99 |";
    table("Logins", head, |out| {
        for (name, stage) in each(runs).filter(|(_, stage)| stage.newcomers > 0) {
            let (login, storm) = (&stage.logins, &stage.storm);
            let _ = writeln!(
                out,
                "| {} | {name} | {} | {:.2} | {:.0} | {:.0} | {:.0} | {} | {:.1} | {:.1} |",
                users(stage),
                stage.newcomers,
                stage.all_in,
                login.p50,
                login.p99,
                login.max,
                storm.count,
                storm.p50,
                storm.p99,
            );
        }
    })
}

fn resources(runs: &[Run]) -> String {
    let head = "| users | through | waiting: mean | most | servers: busy | open | CPU: pooler | PostgreSQL | load generator | others | memory MiB: pooler | PostgreSQL | load generator |";
    table("Resources", head, |out| {
        for (name, stage) in each(runs) {
            let samples = &stage.samples;
            let console = |of: fn(&crate::sample::Console) -> f64| {
                move |s: &crate::sample::Sample| s.console.as_ref().map_or(0.0, of)
            };
            let _ = writeln!(
                out,
                "| {} | {name} | {:.1} | {:.0} | {:.1} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.0} | {:.0} |",
                users(stage),
                mean(samples, console(|c| c.waiting)),
                most(samples, console(|c| c.waiting)),
                mean(samples, console(|c| c.servers_active)),
                most(samples, console(|c| c.servers)),
                mean(samples, |s| s.pooler.cpu),
                mean(samples, |s| s.postgres.cpu),
                mean(samples, |s| s.generator.cpu),
                mean(samples, |s| s.others),
                mean(samples, |s| s.pooler.memory) / MIB,
                mean(samples, |s| s.postgres.memory) / MIB,
                mean(samples, |s| s.generator.memory) / MIB,
            );
        }
    })
}

fn bottlenecks(runs: &[Run]) -> String {
    let head = "| users | through | bottleneck |";
    table("Bottlenecks", head, |out| {
        for (name, stage) in each(runs) {
            let _ = writeln!(out, "| {} | {name} | {} |", users(stage), stage.verdict);
        }
    })
    .replace("---:", "---")
}

fn memory(runs: &[Run]) -> String {
    let head = "| through | with | before MiB | KiB a user | after all have left MiB | slope KiB a minute |";
    table("Memory of the pooler", head, |out| {
        for run in runs {
            let Some(stage) = largest(run) else { continue };
            let there = mean(&stage.samples, |s| s.pooler.memory);
            let slope = memory_fit(stage).map_or("–".to_string(), |fit| {
                format!("{:+.1} ± {:.1}", fit.slope / 1024.0, fit.error / 1024.0)
            });
            let _ = writeln!(
                out,
                "| {} | {} users | {:.1} | {:.2} | {:.1} | {slope} |",
                run.target.name,
                stage.users,
                run.memory_before / MIB,
                (there - run.memory_before) / 1024.0 / stage.users as f64,
                run.memory_after / MIB,
            );
        }
    })
}

/// The line through the pooler's memory in a long stage, in bytes by minutes.
pub fn memory_fit(stage: &Stage) -> Option<Fit> {
    if stage.seconds < SOAK_SECONDS {
        return None;
    }
    let skip = (stage.samples.len() as f64 * WARM_UP) as usize;
    let points: Vec<(f64, f64)> = stage
        .samples
        .iter()
        .skip(skip)
        .map(|sample| (sample.at / 60.0, sample.pooler.memory))
        .collect();
    Fit::through(&points)
}

fn failures(runs: &[Run]) -> String {
    let answered: u64 = each(runs).map(|(_, stage)| stage.all.count).sum();
    let failed: u64 = each(runs).map(|(_, stage)| stage.failed()).sum();
    if failed == 0 {
        return format!(
            "Of {answered} requests none failed, and every answer was the right one.\n"
        );
    }
    let head = "| users | through | failure | times |";
    table("Failures", head, |out| {
        for (name, stage) in each(runs) {
            for (what, (count, _)) in &stage.failures {
                let what = what.replace('|', "/");
                let _ = writeln!(out, "| {} | {name} | {what} | {count} |", users(stage));
            }
        }
    })
}
