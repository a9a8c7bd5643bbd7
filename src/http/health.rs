//! Whether the hub lives (`/health`) and whether it can work (`/ready`). Both answer anybody.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use protocol::rest as w;
use serde_json::json;
use tokio::sync::Mutex;

use super::described::Described;
use super::endpoint::{Endpoint, row};
use super::{Edge, Refusal};
use crate::domain::ids::{Source, SystemSource};
use crate::domain::policy::Operation;
use crate::error::Fault;

pub(super) const ENDPOINTS: [Endpoint; 5] = [
    row(Method::GET, "/health", Operation::Health, || web::to(health))
        .described(|| Described::new("Whether the hub lives").gives::<w::Health>(200)),
    row(Method::HEAD, "/health", Operation::Health, || web::to(health))
        .described(|| Described::new("Whether the hub lives").gives_nothing(200)),
    row(Method::GET, "/ready", Operation::Ready, || web::to(ready))
        .described(|| Described::new("Whether the hub can work").gives::<w::Ready>(200).gives::<w::Ready>(503)),
    row(Method::HEAD, "/ready", Operation::Ready, || web::to(ready))
        .described(|| Described::new("Whether the hub can work").gives_nothing(200).gives_nothing(503)),
    row(Method::GET, "/health/detailed", Operation::HealthDetailed, || web::to(details))
        .described(|| Described::new("Version, age and memory of the hub").gives::<w::HealthDetails>(200)),
];

/// Asks one part whether it works.
pub type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// The parts that must work and those that may be down, and their answers of a moment ago: strangers may ask as often as
/// they like.
pub struct Readiness {
    parts: Asked,
    providers: Asked,
    stopping: AtomicBool,
}

/// Parts that are asked alike.
struct Asked {
    parts: Vec<(&'static str, Check)>,
    /// For so long an answer is given again.
    fresh: Duration,
    /// A part that takes longer does not work.
    patience: Duration,
    last: Mutex<Option<(Instant, Vec<&'static str>)>>,
}

impl Readiness {
    /// `providers` are no failure.
    pub fn new(parts: Vec<(&'static str, Check)>, providers: Vec<(&'static str, Check)>) -> Self {
        let last = || Mutex::new(None);
        let [short, second, long] = [2, 1, 15].map(Duration::from_secs);
        Self {
            parts: Asked { parts, fresh: short, patience: Duration::from_secs(3), last: last() },
            // These are other people's servers: they are not asked for every probe.
            providers: Asked { parts: providers, fresh: long, patience: second, last: last() },
            stopping: AtomicBool::new(false),
        }
    }

    /// From now on the hub is not ready: it is going down.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The parts that do not work, asked at most two seconds ago; `stopping` while the hub goes down.
    pub async fn failing(&self) -> Vec<&'static str> {
        let mut failing = self.parts.silent().await;
        if self.stopping.load(Ordering::Acquire) {
            failing.push("stopping");
        }
        failing
    }

    /// The providers that could not be reached, asked at most fifteen seconds ago.
    pub async fn down(&self) -> Vec<&'static str> {
        self.providers.silent().await
    }
}

impl Asked {
    async fn silent(&self) -> Vec<&'static str> {
        // Held while asking: a hundred questions at once are one.
        let mut last = self.last.lock().await;
        if let Some((at, silent)) = last.as_ref()
            && at.elapsed() < self.fresh
        {
            return silent.clone();
        }
        let ask = async |part: &(&'static str, Check)| {
            let works = tokio::time::timeout(self.patience, part.1()).await.unwrap_or(false);
            (!works).then_some(part.0)
        };
        let answers = futures_util::future::join_all(self.parts.iter().map(ask)).await;
        let silent: Vec<&'static str> = answers.into_iter().flatten().collect();
        if !silent.is_empty() {
            tracing::warn!(parts = silent.join(", "), "does not answer");
        }
        *last = Some((Instant::now(), silent.clone()));
        silent
    }
}

pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok", "timestamp": SystemSource.now().to_rfc3339() }))
}

pub(super) async fn ready(edge: web::Data<Edge>) -> HttpResponse {
    let names =
        |names: Vec<&str>| Some(names.into_iter().map(str::to_owned).collect()).filter(|all: &Vec<_>| !all.is_empty());
    let (failing, down) = futures_util::future::join(edge.readiness.failing(), edge.readiness.down()).await;
    let body = w::Ready { ready: failing.is_empty(), failing: names(failing), down: names(down) };
    match body.ready {
        true => HttpResponse::Ok().json(body),
        false => HttpResponse::ServiceUnavailable().json(body),
    }
}

/// Version, age and memory of the process.
async fn details() -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(w::HealthDetails {
        status: "ok".to_owned(),
        timestamp: SystemSource.now().to_rfc3339(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: uptime().as_secs_f64(),
        memory: memory()?,
    }))
}

/// Since the process began, as the kernel counts it.
fn uptime() -> Duration {
    static FIRST_ASKED: std::sync::OnceLock<(Instant, Duration)> = std::sync::OnceLock::new();
    let (asked, age) = FIRST_ASKED.get_or_init(|| (Instant::now(), age().unwrap_or_default()));
    *age + asked.elapsed()
}

/// The age of this process: its start is field 22 of `/proc/self/stat`, in hundredths of a second after the boot.
fn age() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, and may hold anything.
    let started: f64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let up: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    Duration::try_from_secs_f64(up - started / 100.0).ok()
}

/// What `/proc/self/status` says.
fn memory() -> Result<w::Memory, Fault> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| Fault::unavailable(format!("this system does not tell a process its memory: {error}")))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    };
    let of = |name| bytes(name).unwrap_or(0);
    Ok(w::Memory { rss: of("VmRSS:"), peak_rss: of("VmHWM:"), address_space: of("VmSize:") })
}
