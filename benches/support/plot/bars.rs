//! Horizontal bars in panels that share one axis.

use std::path::Path;

use plotters::prelude::*;

use super::*;

const LABELS: i32 = 300;
const ROW: i32 = 24;
const PANEL_HEAD: i32 = 30;
const AXIS: i32 = 34;

pub struct Bar {
    pub label: String,
    pub value: f64,
    /// A bar of this crate's.
    pub ours: bool,
    pub target: Option<f64>,
}

pub struct Panel {
    pub title: String,
    pub bars: Vec<Bar>,
}

impl Panel {
    fn height(&self) -> i32 {
        PANEL_HEAD + self.bars.len() as i32 * ROW + AXIS
    }
}

pub fn draw(file: &Path, title: &str, subtitle: &str, panels: &[Panel]) -> Result {
    let bars = || panels.iter().flat_map(|panel| &panel.bars);
    let high = bars().map(|bar| bar.value.max(bar.target.unwrap_or(0.0))).fold(0.0, f64::max);
    let low = bars().map(|bar| bar.value).fold(0.0, f64::min);
    // With room for the value to the right of the longest.
    let values = (low, high.max(1.0) * 1.1);
    let scale = Scale { values, pixels: (MARGIN + LABELS, WIDTH as i32 - MARGIN - 30) };

    let height = HEAD + panels.iter().map(Panel::height).sum::<i32>() + 8;
    let area = page(file, height as u32, title, subtitle)?;
    let mut top = HEAD;
    for panel in panels {
        draw_panel(&area, &scale, top, panel)?;
        top += panel.height();
    }
    area.present()?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, scale: &Scale, top: i32, panel: &Panel) -> Result {
    text(area, &panel.title, (MARGIN, top + 4), Style { bold: true, ..Style::default() })?;
    let top = top + PANEL_HEAD;
    let bottom = top + panel.bars.len() as i32 * ROW;
    for tick in scale.ticks(6) {
        let x = scale.place(tick);
        line(area, (x, top), (x, bottom + 4), GRID)?;
        let style = Style { size: 12, color: FAINT, ..Style::default() }.below();
        text(area, &number(tick, scale.decimals(6)), (x, bottom + 8), style)?;
    }
    let decimals = if scale.values.1 < 100.0 { 1 } else { 0 };
    for (index, bar) in panel.bars.iter().enumerate() {
        let top = top + index as i32 * ROW;
        let middle = top + ROW / 2;
        let color = if bar.ours { OURS } else { OTHERS };
        let style = Style { bold: bar.ours, ..Style::default() };
        text(area, &bar.label, (scale.pixels.0 - 10, middle), style.left_of())?;
        let (zero, end) = (scale.place(0.0), scale.place(bar.value));
        let corners = [(zero.min(end), top + 4), (zero.max(end), top + ROW - 4)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        let mut after = zero.max(end) + 6;
        if let Some(target) = bar.target {
            let x = scale.place(target);
            line(area, (x, top + 1), (x, top + ROW - 1), TARGET.stroke_width(3))?;
            // The number keeps clear of the mark.
            if (after - 6..after + 50).contains(&x) {
                after = x + 8;
            }
        }
        text(area, &number(bar.value, decimals), (after, middle), style.right_of())?;
    }
    line(area, (scale.place(0.0), top), (scale.place(0.0), bottom + 4), FAINT)
}
