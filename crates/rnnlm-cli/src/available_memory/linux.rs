//! Available memory on Linux, from the files in `/proc` and of the control groups.
//!
//! A control group of version 2 has `memory.max`, `memory.high` and `memory.current`, one of version 1 has
//! `memory.limit_in_bytes` and `memory.usage_in_bytes`. The usage includes the file cache, which the kernel reclaims
//! before it enforces a limit, so `memory.stat` gives the part that does not count.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The memory that can be allocated; `root` is the folder of `proc` and of the mounted control groups.
pub(super) fn available_memory(root: &Path) -> Option<u64> {
    let machine = kilobytes(root, "proc/meminfo", "MemAvailable:");
    [machine].into_iter().chain(control_groups(root)).chain(resource_limits(root)).flatten().min()
}

/// A file below `root`, if it can be read.
fn read(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok()
}

/// The value of a line such as `MemAvailable:   1234 kB`, in bytes.
fn kilobytes(root: &Path, path: &str, label: &str) -> Option<u64> {
    let text = read(root, path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(label))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the limits of `ulimit -v` and `ulimit -d` leave.
fn resource_limits(root: &Path) -> Vec<Option<u64>> {
    let limits = read(root, "proc/self/limits").unwrap_or_default();
    let rest = |name: &str, in_use: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        // the soft limit, the hard limit and the unit
        let soft: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(soft.saturating_sub(kilobytes(root, "proc/self/status", in_use)?))
    };
    vec![rest("Max address space", "VmSize:"), rest("Max data size", "VmData:")]
}

/// A version of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What the control groups of this process leave, from its own group up to the root of each mounted hierarchy.
fn control_groups(root: &Path) -> Vec<Option<u64>> {
    let groups = read(root, "proc/self/cgroup").unwrap_or_default();
    let mounts = read(root, "proc/self/mountinfo").unwrap_or_default();
    let mut left = Vec::new();
    for (version, group) in groups.lines().filter_map(group_of_line) {
        for mount in mounts.lines().filter_map(Mount::parse).filter(|mount| mount.version == version) {
            left.extend(mount.folders(root, Path::new(group)).map(|folder| left_in(&folder, version)));
        }
    }
    left
}

/// The group in a line of `/proc/self/cgroup`, if it controls memory: `0::/user.slice` or `4:memory:/docker/12ab`.
fn group_of_line(line: &str) -> Option<(Version, &str)> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    match controllers {
        "" if id == "0" => Some((Version::V2, group)),
        _ if controllers.split(',').any(|controller| controller == "memory") => Some((Version::V1, group)),
        _ => None,
    }
}

/// A mounted hierarchy of control groups.
struct Mount {
    version: Version,
    /// The group at the mount point.
    top: PathBuf,
    mount_point: PathBuf,
}

impl Mount {
    /// Parses a line of `/proc/self/mountinfo`:
    ///
    /// ```text
    /// 35 32 0:33 /docker/12ab /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
    /// ```
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (top, mount_point) = (unescape(mount.next()?), unescape(mount.next()?));
        let mut file_system = file_system.split(' ');
        let version = match (file_system.next()?, file_system.nth(1)?) {
            ("cgroup2", _) => Version::V2,
            ("cgroup", options) if options.split(',').any(|option| option == "memory") => Version::V1,
            _ => return None,
        };
        Some(Self { version, top, mount_point })
    }

    /// The folders of `group` and of all groups above it that are below the mount point.
    fn folders(&self, root: &Path, group: &Path) -> impl Iterator<Item = PathBuf> {
        // in a container, the group can be named as the host sees it and be mounted as the top
        let below = group.strip_prefix(&self.top).ok();
        let below = below.filter(|below| below.components().all(|part| matches!(part, Component::Normal(_))));
        let top = root.join(self.mount_point.strip_prefix("/").unwrap_or(&self.mount_point));
        let ancestors: Vec<PathBuf> = below.unwrap_or(Path::new("")).ancestors().map(|part| top.join(part)).collect();
        ancestors.into_iter()
    }
}

/// Resolves the escapes of white space in `/proc/self/mountinfo`, such as `\040` for a space.
fn unescape(path: &str) -> PathBuf {
    let path = path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    PathBuf::from(path)
}

/// What a group leaves below its limits, without those of the groups above it; `None` without a limit.
fn left_in(group: &Path, version: Version) -> Option<u64> {
    let number = |name: &str| read(group, name)?.trim().parse::<u64>().ok();
    let (limits, usage, cache): (&[&str], _, _) = match version {
        Version::V1 => {
            (&["memory.limit_in_bytes"], "memory.usage_in_bytes", ["total_inactive_file ", "total_active_file "])
        }
        Version::V2 => (&["memory.max", "memory.high"], "memory.current", ["inactive_file ", "active_file "]),
    };
    // a limit that is not set is the word `max`
    let limit = limits.iter().filter_map(|name| number(name)).min()?;
    let statistics = read(group, "memory.stat").unwrap_or_default();
    let value = |label: &str| statistics.lines().find_map(|line| line.strip_prefix(label)?.parse::<u64>().ok());
    let cache: u64 = cache.iter().filter_map(|label| value(label)).fold(0, u64::saturating_add);
    Some(limit.saturating_sub(number(usage)?.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files and `/proc/meminfo` with 1000 kB available.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        let meminfo = ("proc/meminfo", "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    1000 kB\n");
        for (path, text) in files.iter().chain([&meminfo]) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        root
    }

    fn available(files: &[(&str, &str)]) -> Option<u64> {
        available_memory(machine(files).path())
    }

    const V2_MOUNT: (&str, &str) = (
        "proc/self/mountinfo",
        "25 1 0:22 / /proc rw - proc proc rw\n\
         30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    );

    #[test]
    fn without_limits_the_memory_of_the_machine_is_available() {
        assert_eq!(available(&[]), Some(1_024_000));
        let unlimited = [
            V2_MOUNT,
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.current", "500000\n"),
        ];
        assert_eq!(available(&unlimited), Some(1_024_000));
        assert_eq!(available_memory(Path::new("/does/not/exist")), None);
    }

    #[test]
    fn the_tightest_group_of_version_2_counts_at_any_level() {
        let files = |outer: &'static str, inner: &'static str| {
            [
                V2_MOUNT,
                ("proc/self/cgroup", "0::/outer/middle/inner\n"),
                ("sys/fs/cgroup/outer/memory.max", outer),
                ("sys/fs/cgroup/outer/memory.current", "300000\n"),
                ("sys/fs/cgroup/outer/middle/memory.max", "max\n"),
                ("sys/fs/cgroup/outer/middle/memory.current", "250000\n"),
                ("sys/fs/cgroup/outer/middle/inner/memory.max", inner),
                ("sys/fs/cgroup/outer/middle/inner/memory.current", "200000\n"),
            ]
        };
        assert_eq!(available(&files("400000\n", "900000\n")), Some(100_000));
        assert_eq!(available(&files("900000\n", "400000\n")), Some(200_000));
        assert_eq!(available(&files("max\n", "100000\n")), Some(0));
    }

    #[test]
    fn file_cache_is_available_and_a_throttling_limit_counts() {
        let files = [
            V2_MOUNT,
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "900000\n"),
            ("sys/fs/cgroup/a/memory.high", "600000\n"),
            ("sys/fs/cgroup/a/memory.current", "500000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 100000\nfile 400000\ninactive_file 100000\nactive_file 200000\n"),
        ];
        // 600,000 - (500,000 - 300,000)
        assert_eq!(available(&files), Some(400_000));
    }

    #[test]
    fn groups_of_version_1_are_nested_too() {
        let files = [
            (
                "proc/self/mountinfo",
                "35 32 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                 36 32 0:34 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
            ),
            ("proc/self/cgroup", "4:memory:/outer/inner\n1:cpu:/elsewhere\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "700000\n"),
            ("sys/fs/cgroup/memory/outer/memory.limit_in_bytes", "800000\n"),
            ("sys/fs/cgroup/memory/outer/memory.usage_in_bytes", "700000\n"),
            ("sys/fs/cgroup/memory/outer/memory.stat", "cache 5\ntotal_inactive_file 40000\ntotal_active_file 10000\n"),
            ("sys/fs/cgroup/memory/outer/inner/memory.limit_in_bytes", "700000\n"),
            ("sys/fs/cgroup/memory/outer/inner/memory.usage_in_bytes", "100000\n"),
        ];
        assert_eq!(available(&files), Some(150_000));
    }

    #[test]
    fn the_group_of_a_container_is_found_at_the_mount_point() {
        let in_container = |group: &'static str, mount: &'static str| {
            available(&[
                ("proc/self/cgroup", group),
                ("proc/self/mountinfo", mount),
                ("sys/fs/cgroup/memory.max", "400000\n"),
                ("sys/fs/cgroup/memory.current", "100000\n"),
                ("sys/fs/cgroup/job/memory.max", "150000\n"),
                ("sys/fs/cgroup/job/memory.current", "100000\n"),
            ])
        };
        // the mount shows only the group of the container; the process is in it, in a group below it, or outside
        let bound = "30 25 0:26 /docker/12ab /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(in_container("0::/docker/12ab\n", bound), Some(300_000));
        assert_eq!(in_container("0::/docker/12ab/job\n", bound), Some(50_000));
        assert_eq!(in_container("0::/docker/12abc\n", bound), Some(300_000));
        // a namespace of its own, and a process that was moved into it
        let own = "30 25 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(in_container("0::/\n", own), Some(300_000));
        assert_eq!(in_container("0::/job\n", own), Some(50_000));
        assert_eq!(in_container("0::/../other\n", own), Some(300_000));
        // the host's name of a group that the mount does not show
        assert_eq!(in_container("0::/kubepods/pod1\n", own), Some(300_000));
    }

    #[test]
    fn a_mount_point_with_a_space_is_found() {
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", "30 25 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n"),
            ("my groups/memory.max", "5000\n"),
            ("my groups/memory.current", "1000\n"),
        ];
        assert_eq!(available(&files), Some(4000));
    }

    #[test]
    fn resource_limits_count() {
        let files = |address_space: &str, data: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max data size             {data:<20} unlimited            bytes     \n\
                 Max address space         {address_space:<20} unlimited            bytes     \n"
            )
        };
        let available = |address_space: &str, data: &str| {
            let limits = files(address_space, data);
            available(&[("proc/self/limits", &limits), ("proc/self/status", "VmSize:\t  200 kB\nVmData:\t  100 kB\n")])
        };
        assert_eq!(available("unlimited", "unlimited"), Some(1_024_000));
        assert_eq!(available("300000", "unlimited"), Some(300_000 - 204_800));
        assert_eq!(available("unlimited", "300000"), Some(300_000 - 102_400));
        assert_eq!(available("100000", "unlimited"), Some(0));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(super::super::available_memory().is_some_and(|bytes| bytes > 0));
    }
}
