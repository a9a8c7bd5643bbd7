//! S2 and dashboards: many conversations, each streaming deltas at a steady rate to a few subscribers.
use super::{FRAMES_PER_CONNECTION, Workload, settle};
use crate::connection::{Target, Want, connect};
use crate::dialect::Dialect;
use crate::fault::{Result, While, fault};
use crate::figures::{Figures, Meter, deliveries};
use crate::publisher::{Plan, Publisher};
use crate::receiver::Receiver;

/// Which organization and which publisher each channel has.
struct Spread {
    /// By publisher: its organization.
    publishers: Vec<usize>,
    /// By channel: its publisher.
    publisher_of: Vec<u32>,
}

/// Channels of one connection are of one organization; a publisher has as many channels as its limit allows.
fn organization_of(channel: u32, rooms_each: u32, organizations: usize) -> usize {
    (channel / rooms_each) as usize % organizations
}

fn spread(w: &Workload, organizations: usize) -> Result<Spread> {
    let each = ((FRAMES_PER_CONNECTION / w.rate) as usize).max(1);
    let mut s = Spread { publishers: Vec::new(), publisher_of: vec![0; w.rooms as usize] };
    for organization in 0..organizations {
        let of_it: Vec<u32> =
            (0..w.rooms).filter(|&c| organization_of(c, w.rooms_each, organizations) == organization).collect();
        for channels in of_it.chunks(each) {
            for &c in channels {
                s.publisher_of[c as usize] = s.publishers.len() as u32;
            }
            s.publishers.push(organization);
        }
    }
    if s.publishers.len() > 999 {
        return fault(format!("{} publishers are more than 999: fewer rooms or a lower rate", s.publishers.len()));
    }
    Ok(s)
}

pub fn run(w: &Workload, target: &Target, dialect: &Dialect, out: &mut Figures) -> Result<()> {
    if w.rate <= 0.0 || w.rooms_each == 0 || w.rooms < w.rooms_each {
        return fault("rooms need a rate above 0 and at least as many rooms as one connection has");
    }
    let (mut rx, plan) = set_up(w, target, dialect, out)?;
    let n = (w.rooms / w.rooms_each) as usize * w.subscribers;
    let publisher = Publisher::start(Dialect::new(target.wire), plan);
    rx.run_for(w.warm)?;
    let sent_before = publisher.sent();
    rx.begin();
    let meter = Meter::start(target)?;
    rx.run_for(w.seconds)?;
    deliveries(out, &meter, &rx)?;
    rx.recording = false;
    let wanted = (publisher.sent() - sent_before) as f64 * w.subscribers as f64;
    out.number("delivered_of_published", if wanted > 0.0 { rx.delivered as f64 / wanted } else { 0.0 });
    let last = publisher.finish()?;
    settle(&mut rx, 0..n, &|channel, _| last[channel as usize])?;
    let everyone = 0..rx.connections.len();
    out.faults("", rx.faults(everyone));
    out.trouble(&rx);
    Ok(())
}

/// The subscribers, then the publishers.
fn set_up<'d>(w: &Workload, target: &Target, dialect: &'d Dialect, out: &mut Figures) -> Result<(Receiver<'d>, Plan)> {
    let organizations = target.organizations();
    let s = spread(w, organizations)?;
    let groups = w.rooms / w.rooms_each;
    let n = groups as usize * w.subscribers;
    let wants = (0..n as u32)
        .map(|i| {
            let first = i % groups * w.rooms_each;
            let organization = organization_of(first, w.rooms_each, organizations);
            Want::subscriber(organization, first..first + w.rooms_each, 1)
        })
        .collect();
    let mut all = connect(target, dialect, wants)?;
    let publishers = connect(target, dialect, s.publishers.iter().map(|&o| Want::publisher(o)).collect())?;
    let streams =
        publishers.iter().map(|p| p.stream.try_clone()).collect::<std::io::Result<_>>().doing("publishers")?;
    out.number("connections", n as f64);
    out.number("publishers", publishers.len() as f64);
    out.number("rooms", w.rooms.into());
    out.number("rate", w.rate);
    let first = all.len();
    all.extend(publishers);
    let mut rx = Receiver::new(dialect, all)?;
    let outbox = rx.publishers_from(first);
    rx.run_for(0.3)?;
    let plan =
        Plan { streams, publisher_of: s.publisher_of, rate: w.rate * f64::from(w.rooms), payload: w.payload, outbox };
    Ok((rx, plan))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_stays_below_its_limit_and_inside_its_organization() {
        for name in ["s2-20", "s2-50", "dashboards"] {
            let w = Workload::named(name).unwrap();
            let s = spread(&w, 2).unwrap();
            for (p, &organization) in s.publishers.iter().enumerate() {
                let channels: Vec<u32> = (0..w.rooms).filter(|&c| s.publisher_of[c as usize] as usize == p).collect();
                assert!(channels.len() as f64 * w.rate <= FRAMES_PER_CONNECTION, "{name}");
                assert!(channels.iter().all(|&c| organization_of(c, w.rooms_each, 2) == organization), "{name}");
            }
        }
    }
}
