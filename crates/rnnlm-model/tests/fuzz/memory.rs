//! An allocator that measures the memory of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes of a single allocation, whatever sizes a file contains. The files have a few kilobytes.
const MAX_ALLOCATION: usize = 1 << 20;
/// Larger allocations fail, so that a bug ends this process instead of exhausting the machine's memory.
const ALLOCATION_LIMIT: usize = 1 << 28;
/// The most bytes that are allocated at the same time, by all tests of the process together.
const MAX_ALLOCATED: usize = 64 << 20;

struct Measuring;

static LARGEST_ALLOCATION: AtomicUsize = AtomicUsize::new(0);
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator, or returns the null pointer, which signals that memory is
// exhausted.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST_ALLOCATION.fetch_max(layout.size(), Ordering::Relaxed);
        if layout.size() > ALLOCATION_LIMIT {
            return std::ptr::null_mut();
        }
        let live = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller guarantees the conditions of the system allocator, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer is from `alloc` above, and so from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// Fails if more memory was ever allocated than reading a small file needs.
#[track_caller]
pub(crate) fn check() {
    let largest = LARGEST_ALLOCATION.load(Ordering::Relaxed);
    assert!(largest <= MAX_ALLOCATION, "an allocation had {largest} bytes");
    let peak = PEAK.load(Ordering::Relaxed);
    assert!(peak <= MAX_ALLOCATED, "{peak} bytes were allocated at the same time");
}
