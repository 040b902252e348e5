//! The memory that this process uses.

/// The memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    /// In use now.
    pub(crate) current: u64,
    /// The most that was in use at a time.
    pub(crate) peak: u64,
}

impl ProcessMemory {
    /// The memory of this process; `None` if the system does not report it. Only Linux is asked.
    pub(crate) fn of_this_process() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    /// Parses the content of `/proc/PID/status`.
    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            kilobytes.checked_mul(1024)
        };
        Some(Self { current: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_in_kilobytes() {
        let status = "Name:\trnnlm\nVmHWM:\t    8212 kB\nVmRSS:\t    7000 kB\nThreads:\t3\n";
        assert_eq!(ProcessMemory::parse(status), Some(ProcessMemory { current: 7_168_000, peak: 8_409_088 }));
        assert_eq!(ProcessMemory::parse("Name:\trnnlm\n"), None);
    }
}
