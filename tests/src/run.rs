//! Runs checks on all cores and collects the rows in the order of the checks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::check::{Check, Family};
use crate::emulated::{self, BACKEND, Emulation};
use crate::paths::{Missing, Paths, paths};
use crate::table::{Row, Status, Table};
use crate::{Result, checks};

/// Selects a part of the table.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this backend; `cuda` selects all of its devices.
    pub backend: Option<String>,
    /// Only rows with this text in subject, shape, backend or path.
    pub filter: Option<String>,
    /// Backends whose NOT CHECKED rows count as failures; an emulated device matches only its full name.
    pub required: Vec<String>,
    /// Run each check with perturbations, which must make it fail, instead of without.
    pub self_test: bool,
    /// The emulation's libraries; none if the table has no rows of the emulated GPU.
    pub emulation: Option<Emulation>,
}

/// Whether `backend`, such as `cuda NVIDIA H100`, matches `selected`, such as `cuda`.
fn is_device_of(backend: &str, selected: &str) -> bool {
    backend.strip_prefix(selected).is_some_and(|device| device.is_empty() || device.starts_with(' '))
}

impl Selection {
    /// Whether the row is selected.
    pub fn contains(&self, row: &Row) -> bool {
        let backend = self.backend.as_ref().is_none_or(|backend| is_device_of(&row.backend, backend));
        backend && self.filter.as_ref().is_none_or(|text| row.matches(text))
    }

    /// Turns an unchecked row of a required backend into a failure.
    fn require(&self, row: Row) -> Row {
        let is_required = |required: &String| match row.backend.as_str() {
            BACKEND => required == BACKEND,
            backend => is_device_of(backend, required),
        };
        let required = self.required.iter().any(is_required);
        if row.status == Status::NotChecked && required {
            return Row { status: Status::Fail, reason: format!("required, but {}", row.reason), ..row };
        }
        row
    }
}

/// Runs the selected checks on all paths of this machine.
///
/// # Errors
/// If no path can be created, or the process with the emulated rows fails.
pub fn run(selection: &Selection) -> Result<Table> {
    let paths = paths()?;
    let mut rows = rows_where(&paths, |_| true, selection);
    let missing = paths
        .missing
        .iter()
        .map(|Missing { backend, path, reason }| Row::not_checked("all operations and layers", backend, path, reason));
    rows.extend(missing.filter(|row| selection.contains(row)));
    // The self-test tests the checks, which are the same for all backends.
    if let Some(emulation) = selection.emulation.as_ref().filter(|_| !selection.self_test) {
        let emulated = emulated::rows(emulation, selection.filter.as_deref())?;
        rows.extend(emulated.into_iter().filter(|row| selection.contains(row)));
    }
    Ok(Table::new(rows.into_iter().map(|row| selection.require(row)).collect()))
}

/// Like [`run`], for one family, and without rows for missing paths.
///
/// # Errors
/// Like [`run`].
pub fn run_family(family: Family, selection: &Selection) -> Result<Table> {
    Ok(Table::new(rows_where(&paths()?, |check| check.family == family, selection)))
}

fn rows_where(paths: &Paths, filter: impl Fn(&Check) -> bool, selection: &Selection) -> Vec<Row> {
    let mut checks = checks::all(paths);
    checks.retain(|check| filter(check) && selection.contains(&check.row()));
    let cases: Vec<&[Check]> = checks.chunk_by(Check::shares_case_with).collect();
    on_all_cores(&cases, selection.self_test).into_iter().flatten().collect()
}

/// The rows of each case, in the order of the cases. Each thread takes the next case from a shared counter.
fn on_all_cores(cases: &[&[Check]], self_test: bool) -> Vec<Vec<Row>> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(vec![Vec::new(); cases.len()]);
    let rows_of = |check: &Check| if self_test { check.self_test() } else { vec![check.run()] };
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { break };
            let case_rows = case.iter().flat_map(rows_of).collect();
            rows.lock().unwrap_or_else(PoisonError::into_inner)[index] = case_rows;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}
