//! A device that is emulated under several schedules, beside the walk: everything is computed under each of them, and all
//! must give the bits that the first gives. A race that one order hides shows in another.

use std::sync::Arc;

use super::{
    Device, ModelInputs, ModelOutputs, NamedTensor, Operands, Operation, StackInputs, StackOutputs, TrainInputs,
    TrainOutputs, UpdateInputs,
};
use crate::{Error, Result};

/// The same device, once for each schedule.
pub struct Schedules {
    /// Every thread in the order of its number.
    pub in_order: Arc<dyn Device>,
    /// Every other, from schedule 1 on.
    pub drawn: Vec<Arc<dyn Device>>,
}

impl Schedules {
    fn agree<T: Bits>(&self, compute: impl Fn(&dyn Device) -> Result<T>) -> Result<T> {
        let result = compute(self.in_order.as_ref())?;
        let expected = result.bits();
        for (index, device) in self.drawn.iter().enumerate() {
            let found = compute(device.as_ref())?.bits();
            if found != expected {
                let differing = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
                return Err(Error::Schedule { schedule: index + 1, differing, values: expected.len() });
            }
        }
        Ok(result)
    }
}

impl Device for Schedules {
    fn operation(&self, operation: Operation, operands: &Operands) -> Result<Vec<Vec<f32>>> {
        self.agree(|device| device.operation(operation, operands))
    }

    fn stack(&self, inputs: &StackInputs) -> Result<StackOutputs> {
        self.agree(|device| device.stack(inputs))
    }

    fn model(&self, inputs: &ModelInputs) -> Result<ModelOutputs> {
        self.agree(|device| device.model(inputs))
    }

    fn train(&self, inputs: &TrainInputs) -> Result<TrainOutputs> {
        self.agree(|device| device.train(inputs))
    }

    fn update(&self, inputs: &UpdateInputs) -> Result<(f32, Vec<f32>)> {
        self.agree(|device| device.update(inputs))
    }
}

/// Every number of a result, as bits, so that a NaN equals itself and −0 is not 0.
pub trait Bits {
    /// In a fixed order.
    fn bits(&self) -> Vec<u64>;
}

fn singles<'a>(values: impl IntoIterator<Item = &'a f32>) -> impl Iterator<Item = u64> {
    values.into_iter().map(|value| u64::from(value.to_bits()))
}

fn doubles<'a>(values: impl IntoIterator<Item = &'a f64>) -> impl Iterator<Item = u64> {
    values.into_iter().map(|value| value.to_bits())
}

fn named(tensors: &[NamedTensor]) -> impl Iterator<Item = u64> {
    singles(tensors.iter().flat_map(|tensor| &tensor.values))
}

impl Bits for Vec<Vec<f32>> {
    fn bits(&self) -> Vec<u64> {
        singles(self.iter().flatten()).collect()
    }
}

impl Bits for (f32, Vec<f32>) {
    fn bits(&self) -> Vec<u64> {
        singles([&self.0]).chain(singles(&self.1)).collect()
    }
}

impl Bits for StackOutputs {
    fn bits(&self) -> Vec<u64> {
        let layers = self.layers.iter().flat_map(|layer| {
            let parts = [&layer.gates, &layer.hidden, &layer.cell, &layer.candidate];
            parts.into_iter().chain([&layer.grad_gates, &layer.grad_hidden, &layer.grad_cell]).flatten()
        });
        let own = [&self.output, &self.hidden, &self.cell].into_iter().chain(&self.grad_input).flatten();
        singles(layers).chain(singles(own)).chain(named(&self.gradients)).collect()
    }
}

impl Bits for ModelOutputs {
    fn bits(&self) -> Vec<u64> {
        let own = [&self.logits, &self.grad_logits, &self.hidden, &self.cell].into_iter().flatten();
        singles([&self.loss]).chain(singles(own)).chain(named(&self.gradients)).collect()
    }
}

impl Bits for TrainOutputs {
    fn bits(&self) -> Vec<u64> {
        doubles(&self.losses).chain(doubles(&self.gradient_norms)).chain(named(&self.parameters)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose only result is its number.
    struct Number(f32);

    impl Device for Number {
        fn operation(&self, _: Operation, _: &Operands) -> Result<Vec<Vec<f32>>> {
            Ok(vec![vec![self.0, f32::NAN]])
        }

        fn stack(&self, _: &StackInputs) -> Result<StackOutputs> {
            Err(Error::NotChecked("nothing here".to_owned()))
        }

        fn model(&self, _: &ModelInputs) -> Result<ModelOutputs> {
            Err(Error::NotChecked("nothing here".to_owned()))
        }

        fn train(&self, _: &TrainInputs) -> Result<TrainOutputs> {
            Err(Error::NotChecked("nothing here".to_owned()))
        }

        fn update(&self, _: &UpdateInputs) -> Result<(f32, Vec<f32>)> {
            Ok((self.0, Vec::new()))
        }
    }

    #[test]
    fn one_schedule_that_differs_is_named() {
        let devices = |numbers: [f32; 3]| {
            let [in_order, first, second] = numbers.map(|number| Arc::new(Number(number)) as Arc<dyn Device>);
            Schedules { in_order, drawn: vec![first, second] }
        };
        assert_eq!(devices([1.0; 3]).operation(Operation::Fill, &Operands::default()).unwrap()[0][0], 1.0);
        let error = devices([0.0, 0.0, -0.0]).operation(Operation::Fill, &Operands::default()).unwrap_err();
        assert!(matches!(error, Error::Schedule { schedule: 2, differing: 1, values: 2 }), "{error}");
    }
}
