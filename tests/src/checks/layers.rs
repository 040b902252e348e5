//! Every other path against the reference, the walk's stages 5 and 7: all that tape and adjoint hold, named by gate and
//! step, and every gradient.

use std::sync::{Arc, Mutex, PoisonError};

use rnnlm_rnn::{Cell, Nonlinearity};

use super::quantities::Axes;
use crate::Result;
use crate::cases::{StackCase, Twist};
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

/// A check forward and a check backward of `target` for every cell and case, and of what it chooses itself for layers that
/// it may have no fused path for.
pub(super) fn checks(reference: &Target, target: &Target) -> Vec<Check> {
    let both = |target: &Target, case| both(reference, target, case);
    let cases = || Cell::ALL.into_iter().flat_map(StackCase::all).filter(|case| case.volume() <= target.largest);
    let mut checks: Vec<Check> = cases().flat_map(|case| both(target, case)).collect();
    if let Some(device) = &target.automatic {
        let path = target.path.replace("fused", "automatic");
        let automatic = Target { path, device: Arc::clone(device), ..target.clone() };
        checks.extend(Cell::ALL.into_iter().flat_map(|cell| both(&automatic, StackCase::beyond_one_launch(cell))));
    }
    checks
}

/// The same for every cell that a GPU spreads over its multiprocessors; and with more rows than an emulated one has the time
/// for.
pub(super) fn multi_block(reference: &Target, target: &Target) -> Vec<Check> {
    let cases = Cell::ALL.into_iter().flat_map(StackCase::multi_block);
    let crowded = Cell::ALL.into_iter().flat_map(StackCase::crowded).filter(|_| target.backend != BACKEND);
    cases.chain(crowded).flat_map(|case| both(reference, target, case)).collect()
}

fn both(reference: &Target, target: &Target, case: StackCase) -> [Check; 2] {
    let runs = [reference, target].map(|target| Arc::new(Run::new(target)));
    [Pass::Forward, Pass::Backward].map(|pass| check(&runs, target, case, pass))
}

/// A case on a device, which goes forward and backward at once: the two checks look at one run.
struct Run {
    device: Arc<dyn Device>,
    /// Of the undamaged case, from the one check that needs them until the other takes them.
    outputs: Mutex<Option<StackOutputs>>,
}

impl Run {
    fn new(target: &Target) -> Self {
        Self { device: Arc::clone(&target.device), outputs: Mutex::new(None) }
    }

    fn outputs(&self, undamaged: &StackInputs) -> Result<StackOutputs> {
        let mut kept = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outputs) = kept.take() {
            return Ok(outputs);
        }
        let outputs = self.device.stack(undamaged)?;
        *kept = Some(outputs.clone());
        Ok(outputs)
    }
}

fn check([theirs, ours]: &[Arc<Run>; 2], target: &Target, case: StackCase, pass: Pass) -> Check {
    let (theirs, ours) = (Arc::clone(theirs), Arc::clone(ours));
    let (name, [in_rows, in_pairs], perturbations) = match pass {
        Pass::Forward => {
            ("forward", [tolerance::PATH_FORWARD, tolerance::PATH_FORWARD_IN_PAIRS], forward_perturbations(&case))
        }
        Pass::Backward => {
            ("backward", [tolerance::PATH_GRADIENT, tolerance::PATH_GRADIENT_IN_PAIRS], backward_perturbations(&case))
        }
    };
    let tolerance = if case.is_in_pairs() { in_pairs } else { in_rows };
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
            Ok(pass.quantities(&inputs, &theirs.outputs(&inputs)?))
        }),
        found: Box::new(move |perturbation| {
            let inputs = perturbed(&case, perturbation)?;
            let outputs = if perturbation.is_none() { ours.outputs(&inputs)? } else { ours.device.stack(&inputs)? };
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

/// A case's inputs, damaged or not.
pub(super) fn perturbed(case: &StackCase, perturbation: Option<Perturbation>) -> Result<StackInputs> {
    let mut inputs = case.draw()?;
    perturbation.map_or(Ok(()), |perturbation| inputs.perturb(perturbation))?;
    Ok(inputs)
}

/// What must be seen in states and gates.
pub(super) fn forward_perturbations(case: &StackCase) -> Vec<Perturbation> {
    let mut all = vec![Perturbation::LastGate, Perturbation::FirstStep, Perturbation::Nan];
    all.extend((case.twist == Twist::Carried).then_some(Perturbation::StateDropped));
    all
}

/// What must be seen in gradients. Where a NaN has spread over all of them, only taking it away shows.
pub(super) fn backward_perturbations(case: &StackCase) -> Vec<Perturbation> {
    match case.twist {
        Twist::Nan => vec![Perturbation::Nan],
        Twist::Carried => {
            vec![Perturbation::Sign, Perturbation::LastGate, Perturbation::FirstStep, Perturbation::StateDropped]
        }
        // a step of ReLU is linear on either side: its gradient does not depend on how far a unit is from zero
        _ if case.num_steps == 1 && case.cell == Cell::Rnn(Nonlinearity::Relu) => {
            vec![Perturbation::Sign, Perturbation::FirstStep, Perturbation::Nan]
        }
        _ => vec![Perturbation::Sign, Perturbation::LastGate, Perturbation::FirstStep, Perturbation::Nan],
    }
}
