//! How much memory this process may use, and the limits that follow from it.
//!
//! The kernel kills a process that exceeds the memory of its control group, so everything that a peer
//! can make this process hold has a limit. Three things are counted: open connections, requests in
//! flight, and large incomplete heads. Their default limits share half of the memory, less what the
//! process itself needs; the other half is for heap fragmentation, the kernel's socket buffers, and
//! reloads.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What the process holds without any connection: code, clients, keys, cached tokens, logs.
const BASE: u64 = 16 * MIB;
/// One connection: its task and timers, and hyper's two buffers of 8 KiB.
pub(super) const CONNECTION: u64 = 26 * KIB;
/// One request in flight: its fields, its handler's future, a body of 64 KiB that grew by doubling.
pub(super) const REQUEST: u64 = 80 * KIB;
/// One head of up to 64 KiB, in a buffer that grew by doubling.
pub(super) const LARGE_HEAD: u64 = 128 * KIB;
/// Assumed memory of the machine if it cannot be read.
const UNKNOWN: u64 = 1 << 30;

/// More than any machine has.
const ENDLESS: u64 = 1 << 60;

/// Descriptors reserved for files, logs and listeners.
const RESERVED_DESCRIPTORS: u64 = 32;
/// Beyond these numbers, the processors are the limit.
const MAX_CONNECTIONS: u64 = 10_000;
const MAX_REQUESTS: u64 = 4_096;
const MAX_LARGE_HEADS: u64 = 256;

/// How much the transport may hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Maximum open connections.
    pub connections: u32,
    /// Maximum requests in flight, from the head until the answer has been sent, over all connections.
    pub requests: u32,
    /// Maximum incomplete heads over 8 KiB, over all connections.
    pub large_heads: u32,
}

impl Capacity {
    /// Returns the limits for `bytes` of memory, within the limit of open files.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        let room = (bytes / 2).saturating_sub(BASE).max(4 * MIB);
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(RESERVED_DESCRIPTORS);
        let number = |share: u64, each: u64, min: u64, max: u64| {
            u32::try_from((room / 100 * share / each).clamp(min, max)).unwrap_or(u32::MAX)
        };
        Self {
            connections: number(50, CONNECTION, 8, MAX_CONNECTIONS.min(files.max(8))),
            requests: number(40, REQUEST, 8, MAX_REQUESTS),
            large_heads: number(10, LARGE_HEAD, 2, MAX_LARGE_HEADS),
        }
    }

    /// Returns the limits for the memory that this process may use.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::of(available(Path::new("/")))
    }
}

/// Returns the memory that this process may use: the lowest limit of its control groups, otherwise
/// the machine's memory. `root` is the root of the file system.
fn available(root: &Path) -> u64 {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_limit(root, line));
    limits.chain(machine).min().unwrap_or(UNKNOWN)
}

/// Returns `MemTotal` of /proc/meminfo in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(KIB)
}

/// Returns the lowest limit of the group that a line of /proc/self/cgroup names (`cgroups(7)`), and of its ancestors.
/// In a container the path may be the host's: then the limit is at the root of the mount.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mounted, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|one| one == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = Path::new(path.trim_start_matches('/'));
    let read = |group: &Path| {
        let text = fs::read_to_string(root.join(mounted).join(group).join(file)).ok()?;
        // "max" is none; version 1 writes an almost endless number instead.
        text.trim().parse::<u64>().ok().filter(|limit| *limit < ENDLESS)
    };
    group.ancestors().filter_map(read).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_lowest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");
        let v2 = ("proc/self/cgroup", "0::/pod/container\n");
        let v1 = ("proc/self/cgroup", "12:cpu:/a\n4:hugetlb,memory:/docker/a\n");
        for (files, expected) in [
            (vec![meminfo], 2 * MIB),
            (vec![meminfo, v2], 2 * MIB),
            // A service may not see the machine's memory.
            (vec![v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], UNKNOWN),
            (vec![meminfo, v2, ("sys/fs/cgroup/memory.max", "max\n")], 2 * MIB),
            // In a namespace of its own, the group is what is mounted.
            (vec![meminfo, v2, ("sys/fs/cgroup/memory.max", "1000000\n")], 1_000_000),
            (
                vec![
                    meminfo,
                    v2,
                    ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
                    ("sys/fs/cgroup/pod/memory.max", "900000\n"),
                ],
                900_000,
            ),
            (vec![meminfo, v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], 2 * MIB),
            (vec![meminfo, v1, ("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "800000\n")], 800_000),
            (vec![], UNKNOWN),
        ] {
            assert_eq!(available(tree(&files).path()), expected, "{files:?}");
        }
    }

    /// What the limits allow together stays below half of the memory.
    #[test]
    fn limits_follow_the_memory() {
        for mib in [64, 128, 256, 512, 1_024, 65_536] {
            let Capacity { connections, requests, large_heads } = Capacity::of(mib * MIB);
            let held = u64::from(connections) * CONNECTION
                + u64::from(requests) * REQUEST
                + u64::from(large_heads) * LARGE_HEAD;
            assert!(BASE + held <= (mib * MIB / 2).max(BASE + 4 * MIB), "{mib} MiB: {held}");
            assert!(connections >= 8 && requests >= 8 && large_heads >= 2);
        }
        assert!(Capacity::of(1 << 40).connections <= 10_000);
    }
}
