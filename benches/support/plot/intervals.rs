//! Dots with the interval in which they may be wrong, in panels side by side.

use std::path::Path;

use plotters::prelude::*;

use super::*;
use crate::support::statistics::Median;

const LABELS: i32 = 270;
const ROW: i32 = 26;
const PANEL_HEAD: i32 = 54;
const AXIS: i32 = 40;
const GAP: i32 = 34;

pub struct Row {
    pub label: String,
    /// A row of this crate's.
    pub ours: bool,
    /// One in each column.
    pub dots: Vec<Median>,
}

pub struct Panel {
    pub title: String,
    /// The title of each column.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

impl Panel {
    fn height(&self) -> i32 {
        PANEL_HEAD + self.rows.len() as i32 * ROW + AXIS
    }
}

/// Values are in per cent.
pub fn draw(file: &Path, title: &str, subtitle: &str, panels: &[Panel]) -> Result {
    let height = HEAD + panels.iter().map(Panel::height).sum::<i32>() + 8;
    let area = page(file, height as u32, title, subtitle)?;
    let mut top = HEAD;
    for panel in panels {
        let columns = panel.columns.len() as i32;
        let width = (WIDTH as i32 - 2 * MARGIN - LABELS - GAP * (columns - 1)) / columns;
        text(&area, &panel.title, (MARGIN, top + 4), Style { bold: true, ..Style::default() })?;
        for (index, row) in panel.rows.iter().enumerate() {
            let middle = top + PANEL_HEAD + index as i32 * ROW + ROW / 2;
            let style = Style { bold: row.ours, ..Style::default() };
            text(&area, &row.label, (MARGIN + LABELS - 10, middle), style.left_of())?;
        }
        for column in 0..panel.columns.len() {
            let left = MARGIN + LABELS + column as i32 * (width + GAP);
            draw_column(&area, (left, left + width), top, panel, column, panels)?;
        }
        top += panel.height();
    }
    area.present()?;
    Ok(())
}

fn draw_column(
    area: &Area<'_>,
    pixels: (i32, i32),
    top: i32,
    panel: &Panel,
    column: usize,
    panels: &[Panel],
) -> Result {
    // One axis for all panels, so that they can be compared.
    let dots = || panels.iter().flat_map(|panel| &panel.rows).map(|row| &row.dots[column]);
    let low = dots().map(|dot| dot.low).fold(-1.0, f64::min);
    let high = dots().map(|dot| dot.high).fold(1.0, f64::max);
    let room = (high - low) * 0.06;
    let scale = Scale { values: (low - room, high + room), pixels };

    text(area, &panel.columns[column], (pixels.0, top + 30), Style::default())?;
    let top = top + PANEL_HEAD;
    let bottom = top + panel.rows.len() as i32 * ROW;
    for tick in scale.ticks(4) {
        let x = scale.place(tick);
        line(area, (x, top), (x, bottom + 4), if tick == 0.0 { FAINT } else { GRID })?;
        let sign = if tick > 0.0 { "+" } else { "" };
        let style = Style { size: 12, color: FAINT, ..Style::default() }.below();
        text(
            area,
            &format!("{sign}{} %", number(tick, scale.decimals(4))),
            (x, bottom + 8),
            style,
        )?;
    }
    for (index, row) in panel.rows.iter().enumerate() {
        let y = top + index as i32 * ROW + ROW / 2;
        let color = if row.ours { OURS } else { OTHERS };
        let dot = &row.dots[column];
        let (low, high) = (scale.place(dot.low), scale.place(dot.high));
        line(area, (low, y), (high, y), color.stroke_width(3))?;
        for x in [low, high] {
            line(area, (x, y - 5), (x, y + 5), color.stroke_width(2))?;
        }
        area.draw(&Circle::new((scale.place(dot.value), y), 5, color.filled()))?;
    }
    Ok(())
}
