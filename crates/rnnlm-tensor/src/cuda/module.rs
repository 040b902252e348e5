//! Kernels of other crates, and the device attributes that their launch configurations depend on. A program is compiled
//! once per device.

use std::sync::{Arc, PoisonError};

use cudarc::driver::sys::{CUdevice_attribute_enum as Attribute, CUfunction_attribute_enum as FunctionAttribute};

use super::compile::Program;
use super::context::Cuda;
use super::launch::Kernel;
use crate::Result;

impl Cuda {
    /// Loads kernels of a program by name. The program is compiled unless it has been compiled for this device already.
    /// The kernels may use all the shared memory that the device grants a block.
    ///
    /// # Errors
    /// If the program does not compile or has no kernel with such a name.
    pub fn load_kernels<const N: usize>(&self, program: &Program, names: [&str; N]) -> Result<[Kernel; N]> {
        let mut modules = self.modules().lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.iter().find(|(known, _)| known == program) {
            Some((_, module)) => module.clone(),
            None => {
                let module = program.load(self.stream().context()).map_err(|reason| self.device_error(reason))?;
                modules.push((program.clone(), module.clone()));
                module
            }
        };
        drop(modules);
        let mut kernels = Vec::with_capacity(N);
        for name in names {
            let failed = |error| self.device_error(format!("kernel `{name}` of program `{}`: {error}", program.name));
            let function = module.load_function(name).map_err(failed)?;
            let bytes = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
            let attribute = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, bytes).map_err(failed)?;
            let (stream, device) = (Arc::clone(self.stream()), Arc::clone(self.device_name()));
            kernels.push(Kernel { function, stream, device });
        }
        let loaded = kernels.len();
        kernels.try_into().map_err(|_| self.device_error(format!("{loaded} of {N} kernels were loaded")))
    }

    /// The number of multiprocessors.
    ///
    /// # Errors
    /// If the device fails.
    pub fn multiprocessors(&self) -> Result<usize> {
        Ok(self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.unsigned_abs() as usize)
    }

    /// Whether the device supports cooperative launches, see [`Grid::cooperative`](super::Grid::cooperative).
    ///
    /// # Errors
    /// If the device fails.
    pub fn supports_cooperative_launch(&self) -> Result<bool> {
        Ok(self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? != 0)
    }

    /// The most shared memory of a block, in bytes.
    ///
    /// # Errors
    /// If the device fails.
    pub fn max_shared_bytes(&self) -> Result<usize> {
        let bytes = self.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        Ok(bytes.unsigned_abs() as usize)
    }

    fn attribute(&self, attribute: Attribute) -> Result<i32> {
        self.check(self.stream().context().attribute(attribute))
    }
}
