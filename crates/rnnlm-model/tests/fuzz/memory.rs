//! How much memory reading takes: an allocator that keeps account for the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// No single allocation is larger than this, whatever a file says of sizes. The files have a few kilobytes.
const LARGEST: usize = 1 << 20;
/// What is refused outright, so that a mistake ends this process and does not starve the machine.
const REFUSED: usize = 1 << 28;
/// Nor is there ever more than this of everything, all tests of the process together.
const MOST: usize = 64 << 20;

struct Accountant;

static LARGEST_SEEN: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST_SEEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it came, or answered with the null pointer, which says that
// there is no memory.
unsafe impl GlobalAlloc for Accountant {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST_SEEN.fetch_max(layout.size(), Ordering::Relaxed);
        if layout.size() > REFUSED {
            return std::ptr::null_mut();
        }
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST_SEEN.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is the system allocator's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, that is from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Accountant = Accountant;

/// Fails if more was ever allocated than reading a small file may take.
#[track_caller]
pub(crate) fn check() {
    let largest = LARGEST_SEEN.load(Ordering::Relaxed);
    assert!(largest <= LARGEST, "{largest} bytes were allocated at once");
    let most = MOST_SEEN.load(Ordering::Relaxed);
    assert!(most <= MOST, "{most} bytes were in use");
}
