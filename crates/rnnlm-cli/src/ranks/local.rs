//! The ranks of this machine, which share its cores and GPUs.

use rnnlm_model::Collective;

use crate::failure::Result;

/// This rank among those of its machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Local {
    index: usize,
    /// Ranks of this machine that run on the same cores, this one included; 0 for a single process.
    sharing_cores: usize,
}

impl Local {
    /// Compares the machines of all ranks.
    pub(super) fn find(collective: &dyn Collective) -> Result<Self> {
        let own = [machine(), cores()].join("\n");
        let all = collective.gather_all(own.as_bytes()).map_err(rnnlm_model::Error::from)?;
        let is_local =
            |other: &Vec<u8>| String::from_utf8_lossy(other).lines().next().map(str::to_owned) == Some(machine());
        let index = all[..collective.rank()].iter().filter(|other| is_local(other)).count();
        let sharing_cores = all.iter().filter(|&other| other == own.as_bytes()).count();
        Ok(Self { index, sharing_cores })
    }

    /// The number of this rank among those of the machine.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The threads of this rank: the cores that it may use, divided by the ranks that may use the same ones. A launcher that
    /// binds each rank to cores of its own has divided them already.
    pub(super) fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (cores / self.sharing_cores.max(1)).max(1)
    }
}

/// The machine: the same for containers on one kernel.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// The cores that this process may use.
fn cores() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map_or_else(String::new, |list| list.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_divided_among_the_ranks_that_share_them() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = |sharing_cores| Local { index: 0, sharing_cores }.threads();
        assert_eq!([0, 1, 2 * cores].map(threads), [cores, cores, 1]);
        assert_eq!(threads(cores), 1);
    }
}
