//! The faults, in the order in which they are played, each with the time in which nobody could have
//! helped.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::cluster::Cluster;
use super::probe::Probe;
use super::report::Phase;
use super::users::{Notes, Users};
use crate::support::Pgweir;
use crate::support::proxy::{Fate, Way};

/// What is on its way on a machine that is busy.
const ON_ITS_WAY: Duration = Duration::from_millis(50);
/// The default, in which a server is asked what it is.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest that a host is left alone after a failure: `host_max_delay` and a quarter.
const LEFT_ALONE: Duration = Duration::from_millis(1250);

pub struct Scene {
    cluster: Cluster,
    weir: Pgweir,
    probe: Probe,
    users: Users,
    phases: Vec<Phase>,
}

/// What is left of it.
pub struct Played {
    pub phases: Vec<Phase>,
    pub notes: Notes,
    /// What is in the table in the end.
    pub numbers: BTreeSet<u64>,
}

/// Settings are pgweir's own but for the size of the pools.
fn configuration(cluster: &Cluster, size: u32) -> String {
    let hosts = cluster.hosts();
    format!(
        "default_pool_size = {size}\nquery_timeout = 30\n\
         [pools.postgres]\n{hosts}\n\
         [pools.app_ro]\ndbname = \"postgres\"\n{hosts}\ntarget = \"prefer-replica\"\nmax_lag = \"5s\"\n"
    )
}

impl Scene {
    pub fn set(cluster: Cluster, users: u64) -> Scene {
        let ports: Vec<u16> = cluster.servers.iter().map(|pg| pg.port).collect();
        let weir = Pgweir::start(ports[0], &configuration(&cluster, 8));
        Scene {
            probe: Probe::start(&ports),
            users: Users::come(weir.port, users),
            phases: Vec::new(),
            cluster,
            weir,
        }
    }

    /// All faults, one after the other.
    pub fn round(&mut self, plan: &Plan) {
        let faults: [fn(&mut Scene, &Plan); 9] = [
            Scene::storm,
            Scene::reload,
            Scene::terminate,
            Scene::stall,
            Scene::stop,
            Scene::replica,
            Scene::restart,
            Scene::failover,
            Scene::frozen,
        ];
        for fault in faults {
            fault(self, plan);
            thread::sleep(plan.rest);
        }
    }

    pub fn end(self) -> Played {
        let notes = self.users.leave();
        self.probe.end();
        let mut wire = self.cluster.primary().client();
        let rows = wire.query("select a from t").rows();
        drop(wire);
        let number = |row: &Vec<String>| row[0].parse().expect("a number");
        // Sessions of both pools are at all servers.
        self.weir.assert_quiet();
        Played {
            phases: self.phases,
            notes,
            numbers: rows.iter().map(number).collect(),
        }
    }

    fn begin(&mut self, name: &'static str, bound: Duration) -> Instant {
        let began = Instant::now();
        self.phases.push(Phase {
            name,
            began,
            windows: Vec::new(),
            bound,
        });
        began
    }

    fn window(&mut self, from: Instant, to: Instant) {
        let phase = self.phases.last_mut().expect("a fault has begun");
        phase.windows.push((from, to));
    }

    pub fn quiet(&mut self) {
        self.begin("nothing", Duration::ZERO);
    }

    fn storm(&mut self, plan: &Plan) {
        self.begin("storm of logins", Duration::ZERO);
        self.users.storm(plan.storm);
    }

    /// There and back, with pools that grow and shrink.
    fn reload(&mut self, _: &Plan) {
        self.begin("reload", Duration::ZERO);
        for size in [12, 8] {
            let text = configuration(&self.cluster, size);
            self.weir.rewrite(self.cluster.servers[0].port, &text);
            self.weir.reload("configuration reloaded");
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// The primary's sessions are ended, five times a second. A window lasts until they are gone.
    fn terminate(&mut self, _: &Plan) {
        self.begin("sessions ended", ON_ITS_WAY);
        let mut killer = self.cluster.primary().client();
        let mut ended = 0;
        for _ in 0..10 {
            let from = Instant::now();
            // CASE, because a condition may be looked at before those to the left of it.
            let rows = killer.query(
                "select pid from pg_stat_activity where case when backend_type = 'client backend' \
                 and pid <> pg_backend_pid() then pg_terminate_backend(pid) end",
            );
            let pids: Vec<String> = rows.rows().into_iter().map(|mut r| r.remove(0)).collect();
            ended += pids.len();
            let left = format!(
                "select count(*) from pg_stat_activity where pid in ({})",
                [vec!["0".to_owned()], pids].concat().join(", ")
            );
            killer.wait_for(&left, "0");
            self.window(from, Instant::now());
            thread::sleep(Duration::from_millis(200));
        }
        assert!(ended > 10, "{ended} sessions were ended");
    }

    /// The primary's network takes nothing and brings nothing.
    fn stall(&mut self, plan: &Plan) {
        let from = self.begin("network stands still", ON_ITS_WAY);
        let network = self.cluster.network_of_primary();
        network.set(Way::There, Fate::Stalled);
        network.set(Way::Back, Fate::Stalled);
        thread::sleep(plan.stall);
        network.heal();
        self.window(from, Instant::now());
    }

    /// pgweir's own process.
    fn stop(&mut self, plan: &Plan) {
        let from = self.begin("pgweir stopped", ON_ITS_WAY);
        self.weir.freeze_for(plan.stop);
        self.window(from, Instant::now());
    }

    /// A standby dies, and comes back.
    fn replica(&mut self, _: &Plan) {
        let from = self.begin("replica killed", PROBE_INTERVAL);
        self.cluster.some_standby().crash();
        self.window(from, Instant::now());
        thread::sleep(Duration::from_secs(1));
        let standby = self.cluster.some_standby();
        standby.recover();
        standby.streams();
    }

    fn restart(&mut self, _: &Plan) {
        let from = self.begin("primary restarted", LEFT_ALONE);
        self.cluster.primary_mut().restart();
        // It may take a write between the signal and its end; afterwards, only when it is back. Whether it
        // does is known to the probe, which may have waited for a standby.
        self.window(from, self.probe.first_write_after(Instant::now()));
    }

    /// The primary is killed, and replaced at once.
    fn failover(&mut self, _: &Plan) {
        let from = self.begin("primary killed, failover", PROBE_INTERVAL + ON_ITS_WAY * 2);
        self.cluster.primary_mut().crash();
        let dead = Instant::now();
        let gone = self.cluster.fail_over();
        self.window(from, self.probe.first_write_after(dead));
        self.cluster.rejoin(gone);
    }

    /// It falls silent, is replaced, and then killed, as a manager must before it lets it go on.
    fn frozen(&mut self, plan: &Plan) {
        let from = self.begin("primary frozen, failover", PROBE_INTERVAL + ON_ITS_WAY * 4);
        self.cluster.primary().freeze();
        let silent = Instant::now();
        thread::sleep(plan.stall);
        let gone = self.cluster.fail_over();
        self.window(from, self.probe.first_write_after(silent));
        thread::sleep(PROBE_INTERVAL * 2);
        self.cluster.servers[gone].crash();
        self.cluster.rejoin(gone);
    }
}
