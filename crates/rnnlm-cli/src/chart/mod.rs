//! Charts of the perplexity by epoch: one for the terminal, `perplexity.svg` in the folder of a run, and one that overlays
//! several runs.
//!
//! All have a logarithmic scale, because perplexity is the exponential of the loss.

mod axis;
mod braille;
mod curves;
mod svg;
mod terminal;

use rnnlm_model::{Metrics, RunWriter};

pub(crate) use self::curves::Curves;
use self::svg::Series;
pub(crate) use self::terminal::terminal;
use crate::failure::{Failure, Result};

/// The chart in the folder of a run.
const FILE_NAME: &str = "perplexity.svg";

/// Writes `perplexity.svg` atomically into the folder of a run. Without epochs it writes nothing.
pub(crate) fn write(metrics: &[Metrics], writer: &RunWriter) -> Result<()> {
    let Curves { training, validation } = Curves::new(metrics);
    let mut series = vec![Series::new("training", training, 0)];
    if !validation.is_empty() {
        series.push(Series::new("validation", validation, 1));
    }
    let Some(svg) = svg::draw(&series, "perplexity") else { return Ok(()) };
    writer.write_derived(FILE_NAME, svg.as_bytes()).map_err(|error| {
        let path = writer.run().path().join(FILE_NAME);
        Failure::failed(format!("`{}` cannot be written: {error}", path.display()))
            .with_hint("the run itself is saved and can be used")
    })
}

/// A chart that overlays the curves of a quantity in several runs, as SVG; `None` without points.
pub(crate) fn overlay(runs: &[(String, Curves)], quantity: &str) -> Option<String> {
    let series = runs.iter().enumerate().flat_map(|(index, (name, curves))| {
        let training = Series::new(name, curves.training.clone(), index);
        let validation = Series::new(&format!("{name}, validation"), curves.validation.clone(), index).dashed();
        [training, validation].into_iter().filter(|series| !series.is_empty())
    });
    svg::draw(&series.collect::<Vec<_>>(), quantity)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of whole epochs with these perplexities.
    pub(super) fn metrics(perplexities: &[f64]) -> Vec<Metrics> {
        let epoch = |(index, &perplexity): (usize, &f64)| Metrics {
            epoch: index as u64 + 1,
            minibatch: None,
            num_minibatches: None,
            perplexity,
            val_perplexity: None,
            val_perplexity_reason: None,
            tokens_per_second: 1.0,
            lr: 1.0,
            gradient_norm: 1.0,
            seconds: 1.0,
        };
        perplexities.iter().enumerate().map(epoch).collect()
    }

    #[test]
    fn curves_have_whole_epochs_if_there_are_two() {
        let mut lines = metrics(&[20.0, 7.0]);
        lines.insert(0, Metrics { minibatch: Some(1000), num_minibatches: Some(4000), perplexity: 25.0, ..lines[0] });
        assert_eq!(Curves::new(&lines).training, [(1.0, 20.0), (2.0, 7.0)]);
        assert_eq!(Curves::new(&lines[..2]).training, [(0.25, 25.0), (1.0, 20.0)]);
        lines[2].perplexity = f64::NAN;
        lines[2].val_perplexity = Some(8.0);
        let curves = Curves { training: vec![(1.0, 20.0)], validation: vec![(2.0, 8.0)] };
        assert_eq!(Curves::new(&lines), curves);
    }
}
