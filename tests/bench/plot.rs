//! Time against books, both axes logarithmic.

use plotters::prelude::*;

use crate::Anyhow;
use crate::report::Report;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/plot.svg");

/// In pixels.
const SIZE: (u32, u32) = (900, 560);

/// A line for each contestant.
pub(crate) fn write(report: &Report) -> Anyhow<()> {
    let points = report.sizes.iter().flat_map(|size| {
        size.measured.iter().map(move |one| (one.contestant.name, size.books, one.time().as_secs_f64()))
    });
    let points: Vec<(&str, u32, f64)> = points.collect();
    let books = || points.iter().map(|(_, books, _)| *books);
    let seconds = || points.iter().map(|(_, _, seconds)| *seconds);
    let (least, most) = (books().min().unwrap_or(1), books().max().unwrap_or(1));
    let (fastest, slowest) = (seconds().fold(f64::MAX, f64::min), seconds().fold(0.0, f64::max));

    let root = SVGBackend::new(PATH, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart =
        ChartBuilder::on(&root).margin(12).x_label_area_size(40).y_label_area_size(60).build_cartesian_2d(
            (least..most + most / 4).log_scale(),
            (fastest / 1.5..slowest * 1.5).log_scale(),
        )?;
    // Sums of tenths are no tenths.
    let label = |seconds: &f64| ((seconds * 1e6).round() / 1e6).to_string();
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("books").y_desc("seconds").y_label_formatter(&label).light_line_style(WHITE).draw()?;
    for (number, contestant) in report.contestants.iter().enumerate() {
        let mut line = points.iter().filter(|(name, ..)| *name == contestant.name).peekable();
        if line.peek().is_none() {
            continue;
        }
        let colour = Palette99::pick(number).to_rgba();
        // What others do is thin.
        let style = colour.stroke_width(if contestant.is_ours() { 3 } else { 1 });
        let line: Vec<(u32, f64)> = line.map(|(_, books, seconds)| (*books, *seconds)).collect();
        chart
            .draw_series(LineSeries::new(line, style).point_size(3))?
            .label(contestant.name.replace(['*', '`'], ""))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
