//! The memory that this process can still allocate.
//!
//! It is the smallest of what the machine has available, what each control group above the process leaves below its
//! limit, and what the resource limits of the process leave. On other systems than Linux only the machine counts.

#[cfg(target_os = "linux")]
mod linux;

/// The memory that can be allocated, in bytes; `None` if the system does not report it.
pub(crate) fn available_memory() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return linux::available_memory(std::path::Path::new("/"));
    #[cfg(not(target_os = "linux"))]
    {
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        Some(system.available_memory()).filter(|&available| available > 0)
    }
}
