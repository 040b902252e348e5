//! Asserts the table of checks, one test per family, and that no check of this machine's paths is skipped.

use rnnlm_rnn::Cell;
use rnnlm_tests::check::Family;
use rnnlm_tests::run::{Selection, run_family};
use rnnlm_tests::table::{Row, Status, Table};

fn assert_family(family: Family) -> Table {
    let table = run_family(family, &Selection::default()).expect("the paths can be created");
    assert_eq!(table.failed, 0, "\n{}", table.failures());
    assert!(table.ok > 0, "nothing was checked:\n{}", table.text());
    table
}

#[test]
fn operations_agree_with_naive_loops() {
    assert_family(Family::Operations);
}

#[test]
fn the_reference_path_agrees_with_the_oracle() {
    assert_family(Family::Oracle);
}

#[test]
fn every_path_agrees_with_pytorch() {
    assert_family(Family::Golden);
}

#[test]
fn regularized_models_agree_with_the_oracle() {
    assert_family(Family::Regularization);
}

#[test]
fn training_agrees_with_pytorch() {
    assert_family(Family::Trajectories);
}

#[test]
fn every_path_agrees_with_the_reference_path() {
    let table = assert_family(Family::Paths);
    let unfused: Vec<&str> =
        Cell::ALL.iter().filter(|cell| !cell.has_fused_cpu_step()).map(|cell| cell.name()).collect();
    let is_expected = |row: &&Row| unfused.iter().any(|name| row.subject.starts_with(name));
    let skipped = table.rows.iter().filter(|row| row.status == Status::NotChecked && !is_expected(row)).count();
    assert_eq!(skipped, 0, "\n{}", table.text());
}

#[test]
fn properties_hold() {
    assert_family(Family::Properties);
}

#[test]
fn results_are_reproducible() {
    assert_family(Family::Reproducibility);
}

#[test]
fn perturbations_upstream_are_detected() {
    let selection = Selection { self_test: true, filter: Some("T2 N3 D5".to_owned()), ..Selection::default() };
    let table = run_family(Family::Oracle, &selection).unwrap();
    assert_eq!(table.failed, 0, "\n{}", table.failures());
    assert!(table.ok > 50, "{}", table.text());
}

#[test]
fn a_required_backend_that_is_missing_fails() {
    let filter = Some("all operations and layers".to_owned());
    let backend = Some("cuda".to_owned());
    let optional = Selection { backend, filter, ..Selection::default() };
    let required = Selection { required: vec!["cuda".to_owned()], ..optional.clone() };
    let (optional, required) = (rnnlm_tests::run::run(&optional).unwrap(), rnnlm_tests::run::run(&required).unwrap());
    assert_eq!(optional.failed, 0);
    assert_eq!(required.failed, optional.not_checked);
    assert!(required.rows.iter().all(|row| !row.reason.is_empty()));
}
