//! Rings that stay: a process of its own holds each.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use cluster::{ApiRing, Identity, NodeRing, tools};
use rustix::process::{Pid, Signal, kill_process, setsid};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Format, Ring, answer, say,
    state::{State, States, started},
};

/// How often something is looked at.
const PACE: Duration = Duration::from_millis(50);
/// How long a ring may take to end in order.
const PATIENCE: Duration = Duration::from_secs(30);
/// The tag of the stand-ins, that of the samples.
const STAND_INS: &str = "6.0.6";

/// Starts the process that holds a ring, and waits until the ring is ready.
pub(crate) fn up(states: &States, ring: Ring, images: &[PathBuf], format: Format) -> Result<ExitCode, String> {
    if let Some(image) = images.iter().find(|image| ring == Ring::Api || !image.is_file()) {
        return Err(match ring {
            Ring::Api => "the ring api runs no pods, and so has no images; use --ring node".to_owned(),
            Ring::Node => format!("there is no file {}; write one with cargo xtask image", image.display()),
        });
    }
    if let Some(state) = states.read(ring) {
        say(&format!("the ring {} runs already", ring.name()));
        tell(&state, format);
        return Ok(ExitCode::SUCCESS);
    }
    states.remove(ring);
    let log = states.log(ring);
    let broken = |error: std::io::Error| format!("the ring cannot be started: {error}");
    let out = fs::File::create(&log).map_err(broken)?;
    let mut child = Command::new(std::env::current_exe().map_err(broken)?)
        .args(["keep", "--ring", ring.name(), "--state"])
        .arg(states.folder())
        .args(images.iter().flat_map(|image| ["--image".as_ref(), image.as_os_str()]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .map_err(broken)?;
    let (begun, mut lines) = (Instant::now(), Lines::of(&log)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(broken)?;
    runtime.block_on(async {
        let mut poll = tokio::time::interval(PACE);
        loop {
            poll.tick().await;
            lines.show();
            if let Some(state) = states.read(ring) {
                say(&format!("the ring {} is ready after {} s", ring.name(), begun.elapsed().as_secs()));
                tell(&state, format);
                return Ok(ExitCode::SUCCESS);
            }
            if let Ok(Some(_)) = child.try_wait() {
                lines.show();
                return Err(format!(
                    "the ring {} did not start; all that it said is in {}",
                    ring.name(),
                    log.display()
                ));
            }
        }
    })
}

/// Holds a ring until somebody says that it is enough.
pub(crate) fn keep(states: &States, ring: Ring, images: &[PathBuf]) -> Result<ExitCode, String> {
    // Apart from the terminal, so that closing it ends nothing. A process that is the first of its group stays where it is.
    let _ = setsid();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        // Before the ring: an end that comes while it starts must not be lost.
        let broken = |error: std::io::Error| format!("signals cannot be heard: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let held = tokio::select! {
            held = Held::start(ring, images) => held?,
            _ = terminate.recv() => return Ok(ExitCode::FAILURE),
            _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
        };
        states.write(&held.state(ring)?)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drop(held);
        states.remove(ring);
        Ok(ExitCode::SUCCESS)
    })
}

/// Ends rings.
pub(crate) fn down(states: &States, ring: Option<Ring>) -> Result<ExitCode, String> {
    let mut found = false;
    for ring in ring.map_or(Ring::ALL.to_vec(), |ring| vec![ring]) {
        if let Some(state) = states.read(ring) {
            found = true;
            say(&format!("ending the ring {} ...", ring.name()));
            end(&state)?;
            answer(&format!("the ring {} is gone", ring.name()));
        }
        states.remove(ring);
    }
    if !found {
        answer("no ring runs");
    }
    Ok(ExitCode::SUCCESS)
}

/// In order; when that takes too long, at once. Either way the kernel sees to it that nothing stays.
fn end(state: &State) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    for with in [Signal::TERM, Signal::KILL] {
        let gone = || started(state.pid).is_none_or(|now| now != state.started);
        if let Some(pid) = Pid::from_raw(state.pid).filter(|_| !gone()) {
            kill_process(pid, with).map_err(|error| format!("process {} cannot be ended: {error}", state.pid))?;
        }
        let ended = runtime.block_on(async {
            let (begun, mut poll) = (Instant::now(), tokio::time::interval(PACE));
            while begun.elapsed() < PATIENCE && (state.folder.exists() || !gone()) {
                poll.tick().await;
            }
            gone()
        });
        if ended {
            return Ok(());
        }
    }
    Err(format!("process {} does not end", state.pid))
}

enum Held {
    Api(ApiRing),
    Node(NodeRing),
}

impl Held {
    async fn start(ring: Ring, images: &[PathBuf]) -> Result<Self, String> {
        let tell = &mut |what: &str| say(what);
        let why = |error: cluster::Error| error.to_string();
        Ok(match ring {
            Ring::Api => {
                // People want it.
                tools::KUBECTL.ensure(tell).map_err(why)?;
                say("starting etcd, API server, controller manager ...");
                Self::Api(ApiRing::start(tell).await.map_err(why)?)
            }
            Ring::Node => {
                say("starting etcd, API server, controller manager, scheduler, containerd, kubelet, kube-proxy ...");
                let node = NodeRing::start(tell).await.map_err(why)?;
                say("importing stand-ins for SCONE's images ...");
                // The stand-in for CAS is a program of the tests.
                node.import_stand_ins(STAND_INS, &[]).map_err(why)?;
                for image in images {
                    say(&format!("importing {} ...", image.display()));
                    node.import_tar(image).map_err(why)?;
                }
                Self::Node(node)
            }
        })
    }

    fn state(&self, ring: Ring) -> Result<State, String> {
        let why = |error: cluster::Error| error.to_string();
        let admin = Identity::admin("admin");
        let pid = std::process::id().cast_signed();
        let (folder, kubeconfig, path, inside) = match self {
            Self::Api(api) => {
                let kubectl = tools::KUBECTL.ensure(&mut |_| ()).map_err(why)?;
                let own = std::env::var_os("PATH").unwrap_or_default();
                let folders = kubectl.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&own));
                let path = std::env::join_paths(folders).unwrap_or(own.clone());
                (api.path(), api.kubeconfig(&admin).map_err(why)?, path, None)
            }
            Self::Node(node) => {
                let inside = (node.pid(), node.kubeconfig_inside().map_err(why)?);
                (node.path(), node.kubeconfig(&admin).map_err(why)?, node.path_variable(), Some(inside))
            }
        };
        let (folder, path) = (folder.to_owned(), path.to_string_lossy().into_owned());
        Ok(State { ring, pid, started: started(pid).unwrap_or_default(), folder, kubeconfig, path, inside })
    }
}

/// Says how to reach a ring.
fn tell(state: &State, format: Format) {
    if format == Format::Json {
        return answer(&state.value().to_string());
    }
    let ring = state.ring.name();
    answer(&format!("export KUBECONFIG={}", state.kubeconfig.display()));
    say(&format!(
        "what to do next:\n  cargo xtask cluster exec --ring {ring} -- kubectl get nodes,pods --all-namespaces\n  cargo xtask \
         cluster logs --ring {ring} kube-apiserver\n  cargo xtask cluster down --ring {ring}"
    ));
}

/// The lines that are added to a file.
struct Lines(BufReader<fs::File>);

impl Lines {
    fn of(path: &Path) -> Result<Self, String> {
        let file = fs::File::open(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Ok(Self(BufReader::new(file)))
    }

    fn show(&mut self) {
        let mut text = String::new();
        // Half a line is shown as such; it is progress, and nobody parses it.
        if self.0.by_ref().read_to_string(&mut text).is_ok() {
            text.lines().for_each(say);
        }
        drop(self.0.fill_buf());
    }
}
