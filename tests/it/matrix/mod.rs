//! Everything that can be asked × every role × whose it is × every kind of credential: no wrong yes and no wrong no.

pub mod addresses;
mod expected;
mod http;
mod sockets;
mod subjects;

use std::collections::BTreeSet;

use switchboard::domain::policy::RULES;

#[test]
fn nothing_can_be_asked_that_is_not_written_down_here() {
    let real: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    let written: BTreeSet<&str> = expected::all().iter().map(|row| row.operation).collect();
    assert_eq!(real, written);
    let methods = protocol::methods::METHODS.iter().map(|method| method.name);
    let missing: Vec<&str> = methods.filter(|name| !real.contains(name)).collect();
    assert!(missing.is_empty(), "methods without a rule: {missing:?}");
}
