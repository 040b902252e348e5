//! Recurrent layers on every other path against the reference path: everything in the tape and the adjoint, named by gate and
//! step, and every gradient.

use std::sync::{Arc, Mutex, PoisonError};

use rnnlm_rnn::{Cell, Nonlinearity};

use super::quantities::Axes;
use crate::Result;
use crate::cases::{Condition, StackCase};
use crate::check::{Check, Family};
use crate::compare::Quantity;
use crate::device::{Device, StackInputs, StackOutputs};
use crate::emulated::BACKEND;
use crate::paths::Target;
use crate::perturb::Perturbation;
use crate::tolerance;

/// Forward or backward.
#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Backward,
}

/// Forward and backward checks of `target` for every cell and case, and of its automatic path selection for layers that may
/// have no fused path.
pub(super) fn checks(reference: &Target, target: &Target) -> Vec<Check> {
    let both = |target: &Target, case| both(reference, target, case);
    let cases = || Cell::ALL.into_iter().flat_map(StackCase::all).filter(|case| case.volume() <= target.max_volume);
    let own_cases = cases().filter(|case| target.has_starts || !case.has_starts());
    let mut checks: Vec<Check> = own_cases.flat_map(|case| both(target, case)).collect();
    if let Some(device) = &target.automatic {
        let path = target.path.replace("fused", "automatic");
        let automatic = Target { path, device: Arc::clone(device), has_starts: true, ..target.clone() };
        checks.extend(cases().filter(StackCase::has_starts).flat_map(|case| both(&automatic, case)));
        checks.extend(Cell::ALL.into_iter().flat_map(|cell| both(&automatic, StackCase::beyond_one_launch(cell))));
    }
    checks
}

/// Forward and backward checks of the multi-block persistent kernels. An emulated GPU would take too long for the cases with
/// many rows.
pub(super) fn multi_block(reference: &Target, target: &Target) -> Vec<Check> {
    let cases = Cell::ALL.into_iter().flat_map(StackCase::multi_block);
    let crowded = Cell::ALL.into_iter().flat_map(StackCase::crowded).filter(|_| target.backend != BACKEND);
    cases.chain(crowded).flat_map(|case| both(reference, target, case)).collect()
}

fn both(reference: &Target, target: &Target, case: StackCase) -> [Check; 2] {
    let runs = [reference, target].map(|target| Arc::new(Run::new(target)));
    [Pass::Forward, Pass::Backward].map(|pass| check(&runs, target, case, pass))
}

/// A case on a device. One call computes both passes, so the forward and the backward check share its outputs.
struct Run {
    device: Arc<dyn Device>,
    /// The outputs without perturbation: stored by the first check and taken by the second.
    outputs: Mutex<Option<StackOutputs>>,
}

impl Run {
    fn new(target: &Target) -> Self {
        Self { device: Arc::clone(&target.device), outputs: Mutex::new(None) }
    }

    fn outputs(&self, inputs: &StackInputs) -> Result<StackOutputs> {
        let mut stored = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outputs) = stored.take() {
            return Ok(outputs);
        }
        let outputs = self.device.stack(inputs)?;
        *stored = Some(outputs.clone());
        Ok(outputs)
    }
}

fn check([expected_run, found_run]: &[Arc<Run>; 2], target: &Target, case: StackCase, pass: Pass) -> Check {
    let expected_run = Arc::clone(expected_run);
    let found_run = Arc::clone(found_run);
    let (name, tolerance, perturbations) = match pass {
        Pass::Forward => ("forward", tolerance::PATH_FORWARD, forward_perturbations(&case)),
        Pass::Backward => ("backward", tolerance::PATH_GRADIENT, backward_perturbations(&case)),
    };
    Check {
        family: Family::Paths,
        subject: format!("{} {name}", case.cell.name()),
        shape: case.shape(),
        backend: target.backend.clone(),
        path: target.path.clone(),
        tolerance,
        perturbations,
        expected: Box::new(move || {
            let inputs = case.draw()?;
            Ok(pass.quantities(&inputs, &expected_run.outputs(&inputs)?))
        }),
        found: Box::new(move |perturbation| {
            let inputs = perturbed(&case, perturbation)?;
            let outputs = match perturbation {
                None => found_run.outputs(&inputs)?,
                Some(_) => found_run.device.stack(&inputs)?,
            };
            Ok(pass.quantities(&inputs, &outputs))
        }),
    }
}

impl Pass {
    fn quantities(self, inputs: &StackInputs, outputs: &StackOutputs) -> Vec<Quantity> {
        let axes = Axes::of(inputs);
        match self {
            Self::Forward => axes.forward(outputs),
            Self::Backward => [axes.gate_gradients(outputs), axes.gradients(outputs)].concat(),
        }
    }
}

/// A case's inputs, with or without a perturbation.
pub(super) fn perturbed(case: &StackCase, perturbation: Option<Perturbation>) -> Result<StackInputs> {
    let mut inputs = case.draw()?;
    perturbation.map_or(Ok(()), |perturbation| inputs.perturb(perturbation))?;
    Ok(inputs)
}

/// The perturbations that must change states or gates.
pub(super) fn forward_perturbations(case: &StackCase) -> Vec<Perturbation> {
    let mut all = vec![Perturbation::LastGate, Perturbation::FirstStep, Perturbation::Nan];
    all.extend((case.condition == Condition::Carried).then_some(Perturbation::StateDropped));
    all.extend(case.has_starts().then_some(Perturbation::Start));
    all
}

/// The perturbations that must change gradients. If all gradients are NaN, only replacing the NaN changes them.
pub(super) fn backward_perturbations(case: &StackCase) -> Vec<Perturbation> {
    match case.condition {
        Condition::Nan => vec![Perturbation::Nan],
        Condition::Carried => {
            vec![Perturbation::Sign, Perturbation::LastGate, Perturbation::FirstStep, Perturbation::StateDropped]
        }
        Condition::Starts | Condition::LateStarts => vec![
            Perturbation::Sign,
            Perturbation::LastGate,
            Perturbation::FirstStep,
            Perturbation::Nan,
            Perturbation::Start,
        ],
        // ReLU is piecewise linear: a small change of a bias does not change the gradients of a single step.
        _ if case.num_steps == 1 && case.cell == Cell::Rnn(Nonlinearity::Relu) => {
            vec![Perturbation::Sign, Perturbation::FirstStep, Perturbation::Nan]
        }
        _ => vec![Perturbation::Sign, Perturbation::LastGate, Perturbation::FirstStep, Perturbation::Nan],
    }
}
