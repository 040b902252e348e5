//! The curve of the perplexity: a few lines in the terminal, and `perplexity.svg`. Both from the run's metrics, on a
//! logarithmic scale, since perplexity is the exponential of what is learnt.

use std::path::Path;

use plotters::prelude::*;
use rnnlm_model::Metrics;
use textplots::{Chart, Plot, Shape};

/// A Braille pattern without dots, the background of the chart.
const BLANK: char = '\u{2800}';

/// The chart in the terminal, `None` where there is nothing to draw.
pub(crate) fn terminal(metrics: &[Metrics]) -> Option<String> {
    let points: Vec<(f32, f32)> = metrics.iter().map(|m| (m.epoch as f32, m.perplexity.log10() as f32)).collect();
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut drawn = Chart::new(120, 32, first.0, last.0);
    let shape = Shape::Lines(&points);
    let plot = drawn.lineplot(&shape);
    plot.axis();
    plot.figures();
    // the library labels the axes with what it was given, powers of ten: say what their ends mean
    let (low, high) = points.iter().fold((f32::MAX, f32::MIN), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    let mut chart = plot.to_string();
    for end in [low, high] {
        chart = chart.replacen(&format!("{end:.1}"), &format!("{:.1}", 10_f32.powf(end)), 1);
    }
    let curve: Vec<&str> =
        chart.lines().filter(|line| line.contains(BLANK)).map(|line| line.trim_end_matches(BLANK)).collect();
    let epochs = format!("epoch {}{:>50}", first.0, last.0);
    Some(format!("{}\n{epochs}\n", curve.join("\n")))
}

/// Round perplexities; those within the picture are marked.
const TICKS: [f64; 15] = [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5];

/// Writes the curve as a picture.
pub(crate) fn svg(metrics: &[Metrics], path: &Path) -> Result<(), String> {
    let perplexities = || metrics.iter().map(|m| m.perplexity);
    let lowest = perplexities().fold(f64::MAX, f64::min).max(1.0);
    let highest = perplexities().fold(1.0, f64::max);
    let last = metrics.last().map_or(1, |m| m.epoch);
    let root = SVGBackend::new(path, (720, 400)).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption("perplexity", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(
                1..last.max(2),
                (lowest * 0.95..highest * 1.05).log_scale().with_key_points(TICKS.to_vec()),
            )?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .y_label_formatter(&|value| if *value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
            .light_line_style(WHITE.mix(0.0))
            .draw()?;
        let line = metrics.iter().map(|m| (m.epoch, m.perplexity));
        chart.draw_series(LineSeries::new(line, BLUE.stroke_width(2)))?;
        root.present()?;
        Ok(())
    };
    draw().map_err(|error| error.to_string())
}
