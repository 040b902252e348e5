//! Runs checks on every core, beside the walk, a case at a time, and keeps the rows in the order of the checks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::check::{Check, Family};
use crate::emulated::{self, BACKEND, Emulation};
use crate::paths::{Missing, Paths, paths};
use crate::table::{Row, Status, Table};
use crate::{Result, checks};

/// Which part of the table is wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this backend; `cuda` stands for every device of it.
    pub backend: Option<String>,
    /// Only rows that hold this text in subject, shape, backend or path.
    pub filter: Option<String>,
    /// Backends whose NOT CHECKED rows are failures; an emulated device is asked for by its whole name alone.
    pub required: Vec<String>,
    /// Damage every check and see that it fails, instead of running it as it is.
    pub self_test: bool,
    /// Where the stand-ins of an emulated GPU are; none if its rows are not wanted.
    pub emulation: Option<Emulation>,
}

/// Whether a row of `backend`, such as `cuda NVIDIA H100`, is one of `wanted`, such as `cuda`.
fn is_of(backend: &str, wanted: &str) -> bool {
    backend.strip_prefix(wanted).is_some_and(|device| device.is_empty() || device.starts_with(' '))
}

impl Selection {
    /// Whether the row is one of these.
    pub fn wants(&self, row: &Row) -> bool {
        let backend = self.backend.as_ref().is_none_or(|backend| is_of(&row.backend, backend));
        backend && self.filter.as_ref().is_none_or(|text| row.matches(text))
    }

    /// Turns what was not checked on a required backend into a failure.
    fn require(&self, row: Row) -> Row {
        let is_required = |wanted: &String| match row.backend.as_str() {
            BACKEND => wanted == BACKEND,
            backend => is_of(backend, wanted),
        };
        let required = self.required.iter().any(is_required);
        if row.status == Status::NotChecked && required {
            return Row { status: Status::Fail, reason: format!("required, but {}", row.reason), ..row };
        }
        row
    }
}

/// Runs what is selected of all checks on all paths of this machine.
///
/// # Errors
/// If the paths cannot be had at all, or the emulated rows.
pub fn run(selection: &Selection) -> Result<Table> {
    let paths = paths()?;
    let mut rows = rows_where(&paths, |_| true, selection);
    let missing = paths
        .missing
        .iter()
        .map(|Missing { backend, path, reason }| Row::not_checked("all operations and layers", backend, path, reason));
    rows.extend(missing.filter(|row| selection.wants(row)));
    if let Some(emulation) = &selection.emulation {
        rows.extend(emulated::rows(emulation, selection)?);
    }
    Ok(Table::new(rows.into_iter().map(|row| selection.require(row)).collect()))
}

/// As [`run`], one family only, and without rows for paths that are not there.
///
/// # Errors
/// As [`run`].
pub fn run_family(family: Family, selection: &Selection) -> Result<Table> {
    Ok(Table::new(rows_where(&paths()?, |check| check.family == family, selection)))
}

fn rows_where(paths: &Paths, wanted: impl Fn(&Check) -> bool, selection: &Selection) -> Vec<Row> {
    let mut checks = checks::all(paths);
    checks.retain(|check| wanted(check) && selection.wants(&check.row()));
    let cases: Vec<&[Check]> = checks.chunk_by(Check::is_of_one_case_with).collect();
    on_every_core(&cases, selection.self_test).into_iter().flatten().collect()
}

/// The rows of each case, in the order of the cases; each core takes the next case that none has begun.
fn on_every_core(cases: &[&[Check]], self_test: bool) -> Vec<Vec<Row>> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(vec![Vec::new(); cases.len()]);
    let rows_of = |check: &Check| if self_test { check.self_test() } else { vec![check.run()] };
    let work = || {
        while let Some((index, case)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, cases.get(i)?)))
        {
            let own = case.iter().flat_map(rows_of).collect();
            rows.lock().unwrap_or_else(PoisonError::into_inner)[index] = own;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}
