//! Kernels that other crates bring along, beside the walk: their programs are compiled once for each device, and what a
//! choice of configuration depends on can be asked.

use std::sync::PoisonError;

use cudarc::driver::CudaFunction;
use cudarc::driver::sys::{CUdevice_attribute_enum as Attribute, CUfunction_attribute_enum as FunctionAttribute};

use super::{Cuda, Program};
use crate::{Backend, Error, Result};

/// A kernel on its device, ready to be launched with as much shared memory as a block may have.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(super) function: CudaFunction,
}

impl Cuda {
    /// The kernels of a program by their names; it is compiled unless that has been done for this device.
    ///
    /// # Errors
    /// If the program does not compile or has no kernel of such a name.
    pub fn kernels_of<const N: usize>(&self, program: &Program, names: [&str; N]) -> Result<[Kernel; N]> {
        let refused = |reason: String| Error::Device { device: self.name(), reason };
        let mut modules = self.shared.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.iter().find(|(known, _)| known == program) {
            Some((_, module)) => module.clone(),
            None => {
                let module = program.load(self.stream().context()).map_err(refused)?;
                modules.push((program.clone(), module.clone()));
                module
            }
        };
        drop(modules);
        let mut kernels = Vec::with_capacity(N);
        for name in names {
            let failed = |error| refused(format!("kernel `{name}` of program `{}`: {error}", program.name));
            let function = module.load_function(name).map_err(failed)?;
            let room = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
            let attribute = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, room).map_err(failed)?;
            kernels.push(Kernel { function });
        }
        kernels.try_into().map_err(|_| refused("a kernel was lost".to_owned()))
    }

    /// Multiprocessors of the device: blocks that run at the same time whatever their size.
    ///
    /// # Errors
    /// If the device fails.
    pub fn multiprocessors(&self) -> Result<usize> {
        Ok(self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.unsigned_abs() as usize)
    }

    /// Whether all blocks of a launch can be made to run at the same time, as [`Grid::at_once`](super::Grid) asks.
    ///
    /// # Errors
    /// If the device fails.
    pub fn runs_blocks_at_once(&self) -> Result<bool> {
        Ok(self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? != 0)
    }

    /// Shared memory that a block may have, in bytes.
    ///
    /// # Errors
    /// If the device fails.
    pub fn shared_bytes(&self) -> Result<usize> {
        let room = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        Ok(room.unsigned_abs() as usize)
    }

    fn attribute(&self, attribute: Attribute) -> Result<i32> {
        self.done(self.stream().context().attribute(attribute))
    }
}
