//! The accept guard: counts a connection from accept to its last byte, across the upgrade.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use ahash::AHashMap;

use super::counters::Counters;

/// What all workers of one server share to decide who may come in.
pub(super) struct Gate {
    pub(super) counters: Arc<Counters>,
    max_connections: usize,
    max_per_address: usize,
    per_address: Mutex<AHashMap<IpAddr, usize>>,
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    Full,
    AddressFull,
}

/// One connection's place. Dropping it gives the place back.
pub(super) struct AcceptGuard {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
    upgraded: bool,
}

impl Gate {
    pub(super) fn new(counters: Arc<Counters>, max_connections: usize, max_per_address: usize) -> Gate {
        Gate { counters, max_connections, max_per_address, per_address: Mutex::default() }
    }

    /// Takes a place for `peer`, or says why there is none.
    pub(super) fn enter(self: &Arc<Gate>, peer: SocketAddr) -> Result<AcceptGuard, TurnedAway> {
        let address = (self.max_per_address > 0).then(|| slot_of(peer.ip()));
        if self.counters.open.fetch_add(1, Relaxed) >= self.max_connections {
            self.counters.open.fetch_sub(1, Relaxed);
            self.counters.turned_away.fetch_add(1, Relaxed);
            return Err(TurnedAway::Full);
        }
        if let Some(address) = address {
            let mut table = self.per_address.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = table.entry(address).or_insert(0);
            if *taken >= self.max_per_address {
                self.counters.open.fetch_sub(1, Relaxed);
                self.counters.turned_away.fetch_add(1, Relaxed);
                return Err(TurnedAway::AddressFull);
            }
            *taken += 1;
        }
        Ok(AcceptGuard { gate: self.clone(), address, upgraded: false })
    }
}

/// IPv6 users own a /64 and could walk through its addresses: it counts as one.
fn slot_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl AcceptGuard {
    /// From now on the connection is counted as a socket.
    pub(super) fn upgraded(&mut self) {
        if !std::mem::replace(&mut self.upgraded, true) {
            self.gate.counters.upgraded.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for AcceptGuard {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut table = self.gate.per_address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(taken) = table.get_mut(&address) {
                *taken -= 1;
                if *taken == 0 {
                    table.remove(&address);
                }
            }
        }
        let counters = &self.gate.counters;
        counters.open.fetch_sub(1, Relaxed);
        if self.upgraded && counters.upgraded.fetch_sub(1, Relaxed) == 1 {
            counters.none_left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_prefix_is_one_address() {
        let gate = Arc::new(Gate::new(Arc::new(Counters::new(1)), 10, 1));
        let first = gate.enter("[2001:db8::1]:1".parse().unwrap());
        assert!(first.is_ok());
        let second = gate.enter("[2001:db8::ffff]:1".parse().unwrap());
        assert_eq!(second.err(), Some(TurnedAway::AddressFull));
        assert!(gate.enter("[2001:db8:0:1::1]:1".parse().unwrap()).is_ok());
        drop(first);
        assert!(gate.enter("[2001:db8::ffff]:1".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_mapped_ipv4_address_counts_as_ipv4() {
        let gate = Arc::new(Gate::new(Arc::new(Counters::new(1)), 10, 1));
        let _first = gate.enter("10.0.0.1:1".parse().unwrap()).ok();
        let second = gate.enter("[::ffff:10.0.0.1]:1".parse().unwrap());
        assert_eq!(second.err(), Some(TurnedAway::AddressFull));
    }
}
