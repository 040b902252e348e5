//! The functions of an MPI library. This file has all `unsafe` code of the crate.
//!
//! Three ABIs differ in the type of a handle and in constants:
//!
//! | ABI | handles | source of the constants |
//! |---|---|---|
//! | standard, `libmpi_abi.so.1` | pointers with small numbers | MPI 5.0, chapter 20, `mpi_abi.h` |
//! | MPICH, `libmpi.so.12` | `int` | `mpi.h` of MPICH, the MPICH ABI Compatibility Initiative |
//! | Open MPI, `libmpi.so.40` | addresses of global objects | `mpi.h` of Open MPI 4 and 5 |

use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::{Error, Result};

/// Bytes of a request, enough for a pointer or an `int`.
type Request = *mut c_void;
/// At least as large as the `MPI_Status` of each ABI (20 to 32 bytes).
type Status = [u64; 16];
/// At least `MPI_MAX_LIBRARY_VERSION_STRING` and `MPI_MAX_ERROR_STRING` of each ABI.
const MAX_STRING: usize = 8192;
/// The tag of messages between two ranks.
const TAG: c_int = 7;

/// An ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    Standard,
    Mpich,
    OpenMpi,
}

/// The handles and constants of an ABI, whose handles have type `H`.
#[derive(Clone, Copy)]
struct Constants<H> {
    world: H,
    byte: H,
    errors_return: H,
    serialized: c_int,
}

/// The functions of a library whose handles have type `H`.
struct Functions<H> {
    constants: Constants<H>,
    init_thread: unsafe extern "C" fn(*mut c_int, *mut c_void, c_int, *mut c_int) -> c_int,
    finalize: unsafe extern "C" fn() -> c_int,
    abort: unsafe extern "C" fn(H, c_int) -> c_int,
    comm_rank: unsafe extern "C" fn(H, *mut c_int) -> c_int,
    comm_size: unsafe extern "C" fn(H, *mut c_int) -> c_int,
    comm_set_errhandler: unsafe extern "C" fn(H, H) -> c_int,
    get_library_version: unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int,
    error_string: unsafe extern "C" fn(c_int, *mut c_char, *mut c_int) -> c_int,
    iallgatherv: Iallgatherv<H>,
    isend: unsafe extern "C" fn(*const u8, c_int, H, c_int, c_int, H, *mut Request) -> c_int,
    irecv: unsafe extern "C" fn(*mut u8, c_int, H, c_int, c_int, H, *mut Request) -> c_int,
    test: unsafe extern "C" fn(*mut Request, *mut c_int, *mut Status) -> c_int,
}

type Iallgatherv<H> =
    unsafe extern "C" fn(*const u8, c_int, H, *mut u8, *const c_int, *const c_int, H, H, *mut Request) -> c_int;

/// The calls of a library, whatever the type of its handles.
trait Calls: Send + Sync {
    fn init_thread(&self) -> Result<[i32; 2]>;
    fn finalize(&self) -> Result<()>;
    fn abort(&self, code: i32);
    fn rank_and_size(&self) -> Result<[usize; 2]>;
    fn version(&self) -> String;
    /// # Safety
    /// `send`, an address and a number of bytes, and `all` stay valid, and nothing else accesses `all`, until the request is
    /// complete; so do `counts` and `offsets`, which have one entry for each rank and describe ranges of `all`.
    unsafe fn iallgatherv(
        &self,
        send: (*const u8, c_int),
        all: *mut u8,
        counts: &[c_int],
        offsets: &[c_int],
        request: &mut Request,
    ) -> Result<()>;
    /// # Safety
    /// `byte` stays valid until the request is complete.
    unsafe fn isend(&self, byte: *const u8, rank: usize, request: &mut Request) -> Result<()>;
    /// # Safety
    /// `byte` stays valid, and nothing else accesses it, until the request is complete.
    unsafe fn irecv(&self, byte: *mut u8, rank: usize, request: &mut Request) -> Result<()>;
    fn test(&self, request: &mut Request) -> Result<bool>;
}

/// An MPI library.
pub(crate) struct Api {
    calls: Box<dyn Calls>,
    pub(crate) abi: Abi,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("abi", &self.abi).finish_non_exhaustive()
    }
}

impl Api {
    /// Opens a library. It is never closed: MPI libraries start threads.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // Open MPI's plugins look its symbols up in the global scope
        // SAFETY: opening a library runs its initializers; that is what the user asks for by starting an MPI program
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(|error| Error::Open { path: path.to_owned(), reason: error.to_string() })?;
        let library: &'static Library = Box::leak(Box::new(library));
        let address = |name: &'static str| {
            // SAFETY: only the address is used, whatever the type of the object
            let symbol = unsafe { library.get::<*mut c_void>(name.as_bytes()) };
            symbol
                .map(|symbol| symbol.as_raw_ptr())
                .map_err(|_| Error::Symbol { path: path.to_owned(), function: name })
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pointer = |number: usize| std::ptr::without_provenance_mut::<c_void>(number);
        if address("ompi_mpi_comm_world").is_ok() {
            let constants = Constants {
                world: address("ompi_mpi_comm_world")?,
                byte: address("ompi_mpi_byte")?,
                errors_return: address("ompi_mpi_errors_return")?,
                serialized: 2,
            };
            return Ok(Self { calls: Box::new(Functions::load(library, path, constants)?), abi: Abi::OpenMpi });
        }
        if name.contains("mpi_abi") {
            let (world, byte, errors_return) = (pointer(0x101), pointer(0x247), pointer(0x143));
            let constants = Constants { world, byte, errors_return, serialized: 2048 };
            return Ok(Self { calls: Box::new(Functions::load(library, path, constants)?), abi: Abi::Standard });
        }
        let constants = Constants { world: 0x4400_0000, byte: 0x4c00_010d, errors_return: 0x5400_0001, serialized: 2 };
        Ok(Self { calls: Box::new(Functions::<c_int>::load(library, path, constants)?), abi: Abi::Mpich })
    }

    /// Starts MPI. Returns the thread level that the library provides, and the one that is needed.
    pub(crate) fn init(&self) -> Result<[i32; 2]> {
        self.calls.init_thread()
    }

    /// Ends MPI on all ranks.
    pub(crate) fn finalize(&self) -> Result<()> {
        self.calls.finalize()
    }

    /// Asks the launcher to end all ranks. Does not return if that works.
    pub(crate) fn abort(&self, code: i32) {
        self.calls.abort(code);
    }

    pub(crate) fn rank_and_size(&self) -> Result<[usize; 2]> {
        self.calls.rank_and_size()
    }

    /// The first line of the version that the library reports.
    pub(crate) fn version(&self) -> String {
        self.calls.version()
    }

    /// Gathers `counts[r]` bytes of each rank `r` at `offsets[r]` of `all`. `wait` is called while the exchange is not
    /// complete; it never returns if the exchange is given up.
    ///
    /// # Errors
    /// If a call fails. The process must end then, because the library may still write to `all`.
    ///
    /// # Panics
    /// If a range exceeds `all`.
    pub(crate) fn gather(
        &self,
        send: &[u8],
        all: &mut [u8],
        [counts, offsets]: [&[c_int]; 2],
        wait: &mut dyn FnMut(),
    ) -> Result<()> {
        let fits = |(&count, &offset): (&c_int, &c_int)| {
            count >= 0 && offset >= 0 && offset as usize + count as usize <= all.len()
        };
        assert!(counts.len() == offsets.len() && counts.iter().zip(offsets).all(fits), "ranges within the buffer");
        // an empty slice may have the address 1, which is MPI_IN_PLACE in two of the ABIs
        let (mut no_bytes, nothing) = ([0], [0]);
        let all = if all.is_empty() { &mut no_bytes[..] } else { all };
        let address = if send.is_empty() { nothing.as_ptr() } else { send.as_ptr() };
        let send = (address, send.len() as c_int);
        let mut request: Request = std::ptr::null_mut();
        // SAFETY: the borrows of all four buffers last until the request is complete, because `complete` returns only then
        // or after a failed call, after which the caller ends the process
        unsafe { self.calls.iallgatherv(send, all.as_mut_ptr(), counts, offsets, &mut request)? };
        self.complete(&mut request, wait)
    }

    /// Waits until a request is complete.
    fn complete(&self, request: &mut Request, wait: &mut dyn FnMut()) -> Result<()> {
        while !self.calls.test(request)? {
            wait();
        }
        Ok(())
    }

    /// Sends a byte to each other rank, and returns the ranks from which none arrived until `wait` returns false.
    pub(crate) fn silent_ranks(&self, rank: usize, size: usize, wait: &mut dyn FnMut() -> bool) -> Vec<usize> {
        // the requests may never complete, so their memory is never freed
        let bytes: &'static mut [[u8; 2]] = Box::leak(vec![[0; 2]; size].into_boxed_slice());
        let others = (0..size).filter(|&other| other != rank);
        let mut receives: Vec<(usize, Request)> = Vec::new();
        for (other, pair) in others.clone().zip(bytes.iter_mut()) {
            let [sent, received] = pair;
            let mut requests: [Request; 2] = [std::ptr::null_mut(); 2];
            // SAFETY: the memory is never freed, and nothing else uses it
            let started = unsafe {
                let sending = self.calls.isend(sent, other, &mut requests[0]);
                sending.and(self.calls.irecv(received, other, &mut requests[1]))
            };
            if started.is_ok() {
                receives.push((other, requests[1]));
            }
        }
        let mut silent: Vec<(usize, Request)> = receives;
        loop {
            silent.retain_mut(|(_, request)| !self.calls.test(request).unwrap_or(false));
            if silent.is_empty() || !wait() {
                break;
            }
        }
        silent.into_iter().map(|(other, _)| other).collect()
    }
}

/// Ends the process at once: no destructors, no handlers of the MPI library, which may wait for other ranks.
pub(crate) fn exit_now(code: i32) -> ! {
    unsafe extern "C" {
        fn _exit(code: c_int) -> !;
    }
    // SAFETY: `_exit` of POSIX can be called at any time, from any thread
    unsafe { _exit(code) }
}

impl<H: Copy> Functions<H> {
    /// Looks up all functions.
    fn load(library: &'static Library, path: &Path, constants: Constants<H>) -> Result<Self> {
        macro_rules! function {
            ($name:literal) => {{
                // SAFETY: the type of the field is that of the function in the MPI standard, with the handles of this ABI
                let symbol = unsafe { library.get(concat!($name, "\0").as_bytes()) };
                *symbol.map_err(|_| Error::Symbol { path: path.to_owned(), function: $name })?
            }};
        }
        Ok(Self {
            constants,
            init_thread: function!("MPI_Init_thread"),
            finalize: function!("MPI_Finalize"),
            abort: function!("MPI_Abort"),
            comm_rank: function!("MPI_Comm_rank"),
            comm_size: function!("MPI_Comm_size"),
            comm_set_errhandler: function!("MPI_Comm_set_errhandler"),
            get_library_version: function!("MPI_Get_library_version"),
            error_string: function!("MPI_Error_string"),
            iallgatherv: function!("MPI_Iallgatherv"),
            isend: function!("MPI_Isend"),
            irecv: function!("MPI_Irecv"),
            test: function!("MPI_Test"),
        })
    }

    /// An error if a call returned another code than `MPI_SUCCESS`, which is 0 in every ABI.
    fn check(&self, function: &'static str, code: c_int) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the buffer has the size that the standard requires
        let message = text(|buffer, len| unsafe { (self.error_string)(code, buffer, len) });
        Err(Error::Call { function, message })
    }
}

/// The first line of what a function writes to a buffer.
fn text(write: impl Fn(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut buffer = vec![0_u8; MAX_STRING];
    let mut len = 0;
    write(buffer.as_mut_ptr().cast(), &raw mut len);
    let text = String::from_utf8_lossy(&buffer[..(len.max(0) as usize).min(MAX_STRING)]).into_owned();
    text.lines().next().unwrap_or_default().trim_matches(['\0', ' ']).to_owned()
}

// SAFETY: handles are numbers, or addresses of objects that the library owns and that its functions may use from any thread
// (MPI_THREAD_SERIALIZED); `Mpi` calls them one at a time
unsafe impl<H> Send for Functions<H> {}
// SAFETY: as above, no function changes the handles, and calls are made one at a time
unsafe impl<H> Sync for Functions<H> {}

impl<H: Copy> Calls for Functions<H> {
    fn init_thread(&self) -> Result<[i32; 2]> {
        let needed = self.constants.serialized;
        let mut provided = 0;
        // SAFETY: null arguments are allowed since MPI 2; called once, before every other function
        let code = unsafe { (self.init_thread)(std::ptr::null_mut(), std::ptr::null_mut(), needed, &raw mut provided) };
        self.check("MPI_Init_thread", code)?;
        // SAFETY: MPI is initialized; both handles are those of the ABI
        let code = unsafe { (self.comm_set_errhandler)(self.constants.world, self.constants.errors_return) };
        self.check("MPI_Comm_set_errhandler", code)?;
        Ok([provided, needed])
    }

    fn finalize(&self) -> Result<()> {
        // SAFETY: MPI is initialized, and `Mpi` makes no call afterwards
        let code = unsafe { (self.finalize)() };
        self.check("MPI_Finalize", code)
    }

    fn abort(&self, code: i32) {
        // SAFETY: MPI is initialized, and the handle is that of the ABI
        unsafe { (self.abort)(self.constants.world, code) };
    }

    fn rank_and_size(&self) -> Result<[usize; 2]> {
        let [mut rank, mut size] = [0; 2];
        // SAFETY: MPI is initialized; the results are `int`
        let code = unsafe { (self.comm_rank)(self.constants.world, &raw mut rank) };
        self.check("MPI_Comm_rank", code)?;
        // SAFETY: as above, MPI is initialized and the result is an `int`
        let code = unsafe { (self.comm_size)(self.constants.world, &raw mut size) };
        self.check("MPI_Comm_size", code)?;
        Ok([rank, size].map(|number: c_int| number.max(0) as usize))
    }

    fn version(&self) -> String {
        // SAFETY: the buffer has the size that the standard requires
        text(|buffer, len| unsafe { (self.get_library_version)(buffer, len) })
    }

    unsafe fn iallgatherv(
        &self,
        (send, len): (*const u8, c_int),
        all: *mut u8,
        counts: &[c_int],
        offsets: &[c_int],
        request: &mut Request,
    ) -> Result<()> {
        let Constants { world, byte, .. } = self.constants;
        let (counts, offsets) = (counts.as_ptr(), offsets.as_ptr());
        // SAFETY: the caller keeps the buffers until the request is complete
        let code = unsafe { (self.iallgatherv)(send, len, byte, all, counts, offsets, byte, world, request) };
        self.check("MPI_Iallgatherv", code)
    }

    unsafe fn isend(&self, value: *const u8, rank: usize, request: &mut Request) -> Result<()> {
        let Constants { world, byte, .. } = self.constants;
        // SAFETY: the caller keeps the byte until the request is complete
        let code = unsafe { (self.isend)(value, 1, byte, rank as c_int, TAG, world, request) };
        self.check("MPI_Isend", code)
    }

    unsafe fn irecv(&self, value: *mut u8, rank: usize, request: &mut Request) -> Result<()> {
        let Constants { world, byte, .. } = self.constants;
        // SAFETY: the caller keeps the byte until the request is complete
        let code = unsafe { (self.irecv)(value, 1, byte, rank as c_int, TAG, world, request) };
        self.check("MPI_Irecv", code)
    }

    fn test(&self, request: &mut Request) -> Result<bool> {
        let (mut done, mut status): (c_int, Status) = (0, [0; 16]);
        // SAFETY: the request was started by this library, and a completed one is null, which the standard allows
        let code = unsafe { (self.test)(request, &raw mut done, &raw mut status) };
        self.check("MPI_Test", code)?;
        Ok(done != 0)
    }
}
