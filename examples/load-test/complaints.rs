//! What makes the load test fail.

use crate::fit::Fit;
use crate::run::{Run, Stage};
use crate::table;

/// At normal load whatever was not answered rightly, at any load wrong answers and stages in which
/// nothing was answered, and memory that grows during a soak. One sentence for each.
pub fn complaints(runs: &[Run], soak: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for run in runs {
        for stage in &run.stages {
            let who = format!("{}, {} users", run.target.name, stage.users);
            complaints.extend(of_stage(stage, soak).map(|what| format!("{who}: {what}")));
        }
    }
    complaints
}

fn of_stage(stage: &Stage, soak: bool) -> impl Iterator<Item = String> {
    let failures = stage
        .failures
        .iter()
        .filter(|(what, _)| stage.is_normal() || what.contains("WRONG ANSWER"))
        .map(|(what, (count, first))| format!("{count} × {what} ({first})"));
    let silence = (stage.all.count == 0).then(|| "no answers".to_string());
    let growth = table::memory_fit(stage)
        .filter(|fit| soak && fit.grows())
        .map(|fit: Fit| {
            let (slope, error) = (fit.slope / 1024.0, fit.error / 1024.0);
            format!("memory grows by {slope:.1} ± {error:.1} KiB a minute")
        });
    failures.chain(silence).chain(growth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::Usage;
    use crate::record::Spread;
    use crate::sample::Sample;

    /// Two minutes with answers, in which this has failed and memory has grown by so many bytes a
    /// second.
    fn stage(think: f64, failure: Option<&str>, growth: f64) -> Stage {
        let sample = |second: i32| Sample {
            at: f64::from(second),
            pooler: Usage {
                cpu: 0.1,
                memory: 2e7 + growth * f64::from(second) + 4096.0 * f64::from(second % 3),
            },
            ..Sample::default()
        };
        Stage {
            think,
            seconds: 120.0,
            all: Spread {
                count: 1,
                ..Spread::default()
            },
            failures: failure
                .map(|what| (what.to_string(), (1, String::new())))
                .into_iter()
                .collect(),
            samples: (0..120).map(sample).collect(),
            ..Stage::default()
        }
    }

    fn count(stage: Stage, soak: bool) -> usize {
        let run = Run {
            stages: vec![stage],
            ..Run::default()
        };
        complaints(&[run], soak).len()
    }

    #[test]
    fn failures_count_at_normal_load_and_wrong_answers_always() {
        assert_eq!(count(stage(1.0, None, 0.0), false), 0);
        assert_eq!(count(stage(1.0, Some("join: timeout"), 0.0), false), 1);
        assert_eq!(count(stage(0.0, Some("join: timeout"), 0.0), false), 0);
        assert_eq!(count(stage(0.0, Some("join: WRONG ANSWER"), 0.0), false), 1);
    }

    #[test]
    fn a_stage_without_answers_is_none() {
        assert_eq!(count(Stage::default(), false), 1);
    }

    #[test]
    fn a_soak_fails_when_memory_grows() {
        assert_eq!(count(stage(1.0, None, 0.0), true), 0);
        assert_eq!(count(stage(1.0, None, 10_000.0), true), 1);
        assert_eq!(count(stage(1.0, None, 10_000.0), false), 0);
    }
}
