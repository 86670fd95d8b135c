//! Lines over the number of connections, which is on a logarithmic axis, with
//! the intervals in which their points may be wrong.

use std::path::Path;

use plotters::prelude::*;

use super::*;
use crate::support::statistics::Median;

const AXIS_LABELS: i32 = 70;
const PANEL_HEAD: i32 = 52;
const PLOT: i32 = 170;
const AXIS: i32 = 56;

pub struct Line {
    pub label: String,
    /// Connections, and the value at so many.
    pub points: Vec<(f64, Median)>,
}

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
    pub target: Option<f64>,
}

pub fn draw(file: &Path, title: &str, subtitle: &str, panels: &[Panel]) -> Result {
    let panel_height = PANEL_HEAD + PLOT + AXIS;
    let height = HEAD + panels.len() as i32 * panel_height + 8;
    let area = page(file, height as u32, title, subtitle)?;
    for (index, panel) in panels.iter().enumerate() {
        draw_panel(&area, HEAD + index as i32 * panel_height, panel)?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, top: i32, panel: &Panel) -> Result {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let high = points().map(|point| point.1.high).fold(panel.target.unwrap_or(1.0), f64::max);
    let low = points().map(|point| point.1.low).fold(0.0, f64::min);
    let most = points().map(|point| point.0).fold(10.0, f64::max);

    text(area, &panel.title, (MARGIN, top + 4), Style { bold: true, ..Style::default() })?;
    draw_legend(area, top + 30, panel)?;

    let top = top + PANEL_HEAD;
    let (left, right) = (MARGIN + AXIS_LABELS, WIDTH as i32 - MARGIN - 30);
    let x = Scale { values: (0.0, most.log10()), pixels: (left + 20, right) };
    let y = Scale { values: (low, high * 1.12), pixels: (top + PLOT, top) };
    let faint = Style { size: 12, color: FAINT, ..Style::default() };
    for tick in y.ticks(5) {
        line(area, (left, y.place(tick)), (right, y.place(tick)), GRID)?;
        text(area, &number(tick, y.decimals(5)), (left - 8, y.place(tick)), faint.left_of())?;
    }
    for exponent in 0..=(most.log10() + 1e-9).floor() as i32 {
        let value = 10f64.powi(exponent);
        let at = x.place(f64::from(exponent));
        line(area, (at, top + PLOT), (at, top + PLOT + 5), FAINT)?;
        text(area, &number(value, 0), (at, top + PLOT + 9), faint.below())?;
    }
    line(area, (left, top + PLOT), (right, top + PLOT), FAINT)?;
    text(area, "connections", ((left + right) / 2, top + PLOT + 27), faint.below())?;

    if let Some(target) = panel.target {
        let at = y.place(target);
        line(area, (left, at), (right, at), TARGET.stroke_width(2))?;
    }
    for (of, color) in panel.lines.iter().zip(LINES) {
        let mut places = Vec::new();
        for (connections, value) in &of.points {
            let at = x.place(connections.log10());
            let (low, high) = (y.place(value.low), y.place(value.high));
            if low != high {
                line(area, (at, low), (at, high), color)?;
                line(area, (at - 4, low), (at + 4, low), color)?;
                line(area, (at - 4, high), (at + 4, high), color)?;
            }
            places.push((at, y.place(value.value)));
        }
        area.draw(&PathElement::new(places.clone(), color.stroke_width(2)))?;
        for place in places {
            area.draw(&Circle::new(place, 4, color.filled()))?;
        }
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, y: i32, panel: &Panel) -> Result {
    let mut left = MARGIN + AXIS_LABELS;
    let labels = panel.lines.iter().map(|line| line.label.as_str()).zip(LINES);
    for (label, color) in labels.chain(panel.target.map(|_| ("target", TARGET))) {
        line(area, (left, y), (left + 22, y), color.stroke_width(3))?;
        text(area, label, (left + 28, y), Style::default().right_of())?;
        // Fonts differ: more than any of them takes.
        left += 28 + label.len() as i32 * 8 + 16;
    }
    Ok(())
}
