//! Load generator and benchmark. From the wire up: [`frame`] and [`dialect`] speak to a server, [`connection`] opens
//! thousands of sockets to it, [`publisher`] sends, [`receiver`] reads and hands every delivery to [`sequence`], which
//! says whether it was the next one; [`workload`] puts these together, [`figures`] and [`process`] say what it cost.
//! Above them [`server`] starts Switchboard and its peers, [`mod@bench`] runs all against all in turns, and [`gates`] and
//! [`table`] say what came of it. Loopback only.
pub mod bench;
pub mod clock;
pub mod connection;
pub mod dialect;
pub mod fault;
pub mod figures;
pub mod frame;
pub mod gates;
pub mod histogram;
pub mod payload;
pub mod probe;
pub mod process;
pub mod publisher;
pub mod receiver;
pub mod sequence;
pub mod server;
pub mod table;
pub mod token;
pub mod workload;
