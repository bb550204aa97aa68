//! Snapshots of the database: taken as wanted or not, and when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use operator_guest::{CommandQuery, PodLogQuery, Query, Snapshot};
use scone_api::{
    cas::{CAS, CASSpec, DatabaseSnapshots, Provisioned, SnapshotStatus},
    missing::START,
    observe::{time, unix_seconds},
};

use crate::{
    cli, spec,
    workload::{self, Site},
};

/// Query ids.
pub(crate) const NEWEST: &str = "newest-snapshot";
pub(crate) const LOG: &str = "snapshot-log";
/// What CAS writes into its log about each of them.
const LINE: &str = "snapshot";
/// The time of a check-up moves in steps: with the default interval there is one each minute, and each step is a write.
const STEP: i64 = 3600;
/// The condition that remembers since when CAS is provisioned: before that there is nothing to take a snapshot of.
pub(crate) const PROVISIONED: &str = "Provisioned";

/// What is known of the snapshots.
pub(crate) struct Snapshots {
    pub(crate) status: SnapshotStatus,
    pub(crate) taken: Option<Time>,
    pub(crate) checked: Option<Time>,
    pub(crate) interval: Option<i64>,
}

/// Asks for the newest snapshot and what the log says, while CAS is ready.
pub(crate) fn questions(site: &Site<'_>, spec: &CASSpec, is_ready: bool) -> Vec<Query> {
    let Some(snapshots) = spec::snapshots(spec).filter(|_| is_ready) else { return Vec::new() };
    let command = cli::newest_snapshot(spec::snapshot_path(snapshots));
    vec![
        CommandQuery::of(site.namespace, &site.pod(), workload::CAS, command).ask(NEWEST),
        PodLogQuery::of(site.namespace, &site.pod(), workload::CAS, LINE).limit(20).ask(LOG),
    ]
}

/// Judges the snapshots. `started` is when CAS did, in Unix seconds, if it is ready.
pub(crate) fn judge(
    snapshot: &Snapshot<CAS>,
    spec: &CASSpec,
    started: Option<i64>,
    provisioned: Provisioned,
) -> Snapshots {
    let Some(wanted) = spec::snapshots(spec) else {
        return Snapshots { status: SnapshotStatus::Disabled, taken: None, checked: None, interval: None };
    };
    let earlier = snapshot.parent.status.as_ref();
    let before = |field: Option<&Time>| field.map(|time| time.0.as_second());
    let taken_before = before(earlier.and_then(|status| status.snapshot_timestamp.as_ref()));
    let log = started.and_then(|_| snapshot.lines(LOG)).and_then(Result::ok).map(Log::read).unwrap_or_default();
    let taken = match started.map_or(Newest::Unknown, |_| newest(snapshot)) {
        Newest::At(time) => Some(time),
        Newest::Absent => None,
        Newest::Unknown => taken_before,
    };
    let checked_before = before(earlier.and_then(|status| status.snapshot_checkup_timestamp.as_ref()));
    let checked = step(checked_before, taken.into_iter().chain(log.checked).max());
    let look = Look { snapshot, wanted, started, provisioned, taken, failed: log.failed };
    Snapshots {
        status: look.status(earlier.and_then(|status| status.snapshot_status)),
        taken: taken.and_then(time),
        checked: checked.and_then(time),
        interval: Some(spec::snapshot_interval(wanted)),
    }
}

/// The newest snapshot.
enum Newest {
    Unknown,
    /// There is none: those on a volume that ends with the pod are gone with it.
    Absent,
    /// Completed then, in Unix seconds.
    At(i64),
}

fn newest(snapshot: &Snapshot<CAS>) -> Newest {
    let Some(Ok(result)) = snapshot.command(NEWEST) else { return Newest::Unknown };
    match result.code {
        0 => String::from_utf8_lossy(&result.stdout).trim().parse().map_or(Newest::Unknown, Newest::At),
        // What `stat` says of a file that is not there.
        1 => Newest::Absent,
        _ => Newest::Unknown,
    }
}

fn step(before: Option<i64>, now: Option<i64>) -> Option<i64> {
    match (before, now) {
        (Some(before), Some(now)) if now - before < STEP => Some(before),
        (before, now) => now.or(before),
    }
}

/// One look at the snapshots of a CAS.
struct Look<'a> {
    snapshot: &'a Snapshot<CAS>,
    wanted: &'a DatabaseSnapshots,
    started: Option<i64>,
    provisioned: Provisioned,
    taken: Option<i64>,
    failed: bool,
}

impl Look<'_> {
    fn status(&self, earlier: Option<SnapshotStatus>) -> SnapshotStatus {
        let kept =
            if spec::snapshots_persist(self.wanted) { SnapshotStatus::Persisted } else { SnapshotStatus::Ephemeral };
        let Some(started) = self.started else {
            // Until CAS is ready again nothing new is known.
            return earlier
                .filter(|status| *status != SnapshotStatus::Disabled)
                .unwrap_or(SnapshotStatus::Initializing);
        };
        if self.failed || self.is_late(started) {
            SnapshotStatus::Failed
        } else if self.taken.is_some() {
            kept
        } else {
            SnapshotStatus::Initializing
        }
    }

    /// Whether a provisioned CAS has had its time for a first snapshot. Later ones may be old: none is made of a database that has
    /// not changed.
    fn is_late(&self, started: i64) -> bool {
        let conditions = self.snapshot.parent.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let marked = conditions.iter().find(|condition| condition.type_ == PROVISIONED && condition.status == "True");
        let Some(since) = marked.map(|marked| marked.last_transition_time.0.as_second().max(started)) else {
            return false;
        };
        let now = self.snapshot.now.unwrap_or_default();
        self.taken.is_none()
            && self.provisioned == Provisioned::Yes
            && now - since > spec::snapshot_interval(self.wanted) + START
    }
}

/// What the log says of snapshots.
#[derive(Default)]
struct Log {
    /// Whether the last one failed.
    failed: bool,
    /// When the last one was taken or skipped.
    checked: Option<i64>,
}

impl Log {
    fn read(lines: &[String]) -> Self {
        let failed = |line: &String| {
            let line = line.to_ascii_lowercase();
            line.contains("fail") || line.contains("error")
        };
        Self {
            failed: lines.last().is_some_and(failed),
            checked: lines.iter().rev().find(|line| !failed(line)).and_then(|line| moment(line)),
        }
    }
}

/// The time at the start of a log line.
fn moment(line: &str) -> Option<i64> {
    let words = line.split(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '"' | '\''));
    words.filter(|word| word.len() >= 19 && word.as_bytes().get(10) == Some(&b'T')).find_map(unix_seconds)
}
