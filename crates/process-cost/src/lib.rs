//! What a child process costs: wall time, processor time and peak memory of it alone, from Linux's `/proc`.
//!
//! Benchmarks compare programs by this. Nothing here is sampled but the peak, and the kernel keeps that as a high-water
//! mark, so only growth within the last few milliseconds of a process can be missed.

use std::{
    fs, io,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

/// The kernel's clock ticks per second, in which `/proc` counts processor time on every Linux that Rust supports.
const TICKS_PER_SECOND: u64 = 100;

/// How often a running process is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// What a process cost from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// From start to end, to the glance.
    pub wall: Duration,
    /// Processor time, user and system, of all its threads, to the hundredth of a second.
    pub processor: Duration,
    /// The most memory that was resident, in bytes.
    pub peak_bytes: u64,
}

/// Runs a command to its end and answers what it cost.
///
/// # Errors
/// What starting or waiting returns, or [`io::ErrorKind::Other`] with the exit status of a process that didn't succeed.
pub fn measure(command: &mut Command) -> io::Result<Cost> {
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut cost = watch(&child)?;
    cost.wall = started.elapsed();
    let status = child.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?} ended with {status}")));
    }
    Ok(cost)
}

/// Looks at a process until it has ended. Its times stay to be read until somebody waits for it.
#[expect(clippy::disallowed_methods, reason = "a process can only be looked at again and again")]
fn watch(child: &Child) -> io::Result<Cost> {
    let mut cost = Cost::default();
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        cost.peak_bytes = cost.peak_bytes.max(high_water_mark(&status).unwrap_or(0));
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        let (state, processor) = times(&stat).ok_or(io::ErrorKind::InvalidData)?;
        if state == "Z" {
            cost.processor = processor;
            return Ok(cost);
        }
        thread::sleep(GLANCE);
    }
}

/// State and processor time out of `/proc/PID/stat`: the fields after the name, which may hold anything.
fn times(stat: &str) -> Option<(&str, Duration)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some((fields.first()?, Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)))
}

/// The peak of resident memory out of `/proc/PID/status`; gone once the process has ended.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024)
}

/// The processor time of the calling thread so far, exact to the nanosecond.
///
/// # Errors
/// When `/proc` can't be read.
pub fn thread_processor_time() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().and_then(|text| text.parse().ok());
    nanoseconds.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_process_is_read() -> io::Result<()> {
        let script = "x=0; while [ $x -lt 30000 ]; do x=$((x+1)); done";
        let cost = measure(Command::new("sh").args(["-c", script]))?;
        assert!(cost.peak_bytes > 100_000, "{cost:?}");
        assert!(cost.processor > Duration::ZERO && cost.wall > Duration::ZERO, "{cost:?}");
        assert!(measure(Command::new("sh").args(["-c", "exit 3"])).is_err());
        Ok(())
    }

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_confuse() {
        let stat = "7 (a) b) Z 1 7 7 0 -1 4 1 0 0 0 12 34 0 0 20 0 1 0 5 0 0";
        assert_eq!(times(stat), Some(("Z", Duration::from_millis(460))));
        assert_eq!(high_water_mark("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn the_time_of_a_thread_grows_with_its_work() -> io::Result<()> {
        let before = thread_processor_time()?;
        let sum: u64 = (0..1_000_000_u64).map(std::hint::black_box).sum();
        assert!(sum > 0 && thread_processor_time()? > before);
        Ok(())
    }
}
