//! What a server costs: processor time and memory of its process, read from /proc.
use crate::fault::{Result, While, fault};
use std::fs;

/// Clock ticks of /proc a second: fixed at 100 on every Linux this runs on.
const TICKS: f64 = 100.0;

/// User and system time of process `pid`, seconds, all its threads, in steps of 10 ms.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).doing("the server's processor time")?;
    parse_cpu(&stat)
}

fn parse_cpu(stat: &str) -> Result<f64> {
    // the name in parentheses may hold anything, so fields are counted behind its end
    let behind = stat.rfind(')').map_or("", |i| &stat[i + 1..]);
    let ticks: Vec<f64> = behind.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok((user + system) / TICKS),
        _ => fault("no processor time in /proc/PID/stat"),
    }
}

/// Processor time of this process, seconds.
pub fn own_cpu_seconds() -> Result<f64> {
    cpu_seconds(std::process::id())
}

/// Busy processor seconds of the whole machine, stolen time included.
pub fn machine_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").doing("the machine's processor time")?;
    let line = stat.lines().next().unwrap_or_default();
    let t: Vec<f64> = line.split_whitespace().skip(1).filter_map(|x| x.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    match t[..] {
        [user, nice, system, _, _, irq, soft, steal, ..] => Ok((user + nice + system + irq + soft + steal) / TICKS),
        _ => fault("no processor time in /proc/stat"),
    }
}

/// Resident memory of process `pid`, bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).doing("the server's memory")?;
    parse_resident(&status)
}

fn parse_resident(status: &str) -> Result<u64> {
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    match line.and_then(|l| l.split_whitespace().nth(1)).and_then(|kb| kb.parse::<u64>().ok()) {
        Some(kb) => Ok(kb * 1024),
        None => fault("no VmRSS in /proc/PID/status: the server is gone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_fields_14_and_15() {
        let stat = "12 (a) name) S 1 12 12 0 -1 4194304 90 0 0 0 150 50 7 8 20 0 1 0 99 1 1";
        assert_eq!(parse_cpu(stat).unwrap(), 2.0);
        assert!(parse_cpu("12 (x) S 1").is_err());
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t  2048 kB\n").unwrap(), 2 << 20);
        assert!(parse_resident("Name:\tx\n").is_err());
    }
}
