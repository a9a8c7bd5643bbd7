//! Named places where a test can delay, panic or kill the process. Nothing at all without the feature `failpoints`.
//!
//! `SWITCHBOARD_FAILPOINTS="conversation.committed=kill@3,store.commit=delay:50"`: at the third passage the process gets
//! SIGKILL; every commit is delayed by 50 milliseconds.

/// Passes a named place.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: &'static str) {}

/// Lets the store's writer pass `store.before` and `store.after` at each commit.
pub fn hook(store: &crate::store::Store) {
    #[cfg(feature = "failpoints")]
    store.set_commit_hook(Some(std::sync::Arc::new(|point| match point {
        crate::store::CommitPoint::Before => reach("store.before"),
        crate::store::CommitPoint::After => reach("store.after"),
    })));
    #[cfg(not(feature = "failpoints"))]
    let _ = store;
}

/// Passes a named place.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    active::reach(name);
}

#[cfg(feature = "failpoints")]
mod active {
    use std::collections::HashMap;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    enum Action {
        Kill,
        Panic,
        Delay(Duration),
    }

    struct Point {
        action: Action,
        /// Which passage; 0 is every one.
        at: u64,
        passed: AtomicU64,
    }

    static POINTS: LazyLock<HashMap<String, Point>> = LazyLock::new(|| {
        let text = std::env::var("SWITCHBOARD_FAILPOINTS").unwrap_or_default();
        text.split(',').filter_map(point).collect()
    });

    fn point(text: &str) -> Option<(String, Point)> {
        let (name, rest) = text.split_once('=')?;
        let (action, at) = rest.split_once('@').unwrap_or((rest, "0"));
        let action = match action.split_once(':') {
            Some(("delay", millis)) => Action::Delay(Duration::from_millis(millis.parse().ok()?)),
            _ if action == "kill" => Action::Kill,
            _ if action == "panic" => Action::Panic,
            _ => return None,
        };
        Some((name.to_owned(), Point { action, at: at.parse().ok()?, passed: AtomicU64::new(0) }))
    }

    pub fn reach(name: &'static str) {
        let Some(point) = POINTS.get(name) else { return };
        let passage = point.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if point.at != 0 && point.at != passage {
            return;
        }
        match point.action {
            Action::Kill => {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                // The signal is on its way; nothing more may happen here.
                std::thread::sleep(Duration::from_secs(60));
            }
            Action::Panic => panic!("failpoint {name}"),
            Action::Delay(time) => std::thread::sleep(time),
        }
    }
}
