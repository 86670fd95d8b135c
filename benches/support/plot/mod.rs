//! Plots for BENCHMARKS.md. They bring a background of their own, so that they
//! can be read on a light page and on a dark one.

pub mod bars;
pub mod intervals;
pub mod lines;

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const TEXT: RGBColor = RGBColor(31, 35, 40);
const FAINT: RGBColor = RGBColor(89, 99, 110);
const GRID: RGBColor = RGBColor(222, 227, 232);
/// This crate, and what it is compared with.
const OURS: RGBColor = RGBColor(9, 105, 218);
const OTHERS: RGBColor = RGBColor(154, 164, 175);
const TARGET: RGBColor = RGBColor(207, 34, 46);
/// Lines of one panel.
const LINES: [RGBColor; 3] = [OURS, RGBColor(188, 76, 0), RGBColor(26, 127, 55)];

const WIDTH: u32 = 860;
const MARGIN: i32 = 16;
/// The height of the title and what stands below it.
const HEAD: i32 = 64;
const FONT: u32 = 13;

/// An empty page with a title and a line that says how to read it.
fn page<'a>(file: &'a Path, height: u32, title: &str, subtitle: &str) -> Result<Area<'a>> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let area = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    text(&area, title, (MARGIN, 14), Style { size: 18, bold: true, ..Style::default() })?;
    text(&area, subtitle, (MARGIN, 40), Style { color: FAINT, ..Style::default() })?;
    Ok(area)
}

#[derive(Clone, Copy)]
struct Style {
    size: u32,
    bold: bool,
    color: RGBColor,
    at: Pos,
}

impl Default for Style {
    fn default() -> Self {
        let at = Pos::new(HPos::Left, VPos::Top);
        Self { size: FONT, bold: false, color: TEXT, at }
    }
}

impl Style {
    fn left_of(self) -> Self {
        Self { at: Pos::new(HPos::Right, VPos::Center), ..self }
    }

    fn right_of(self) -> Self {
        Self { at: Pos::new(HPos::Left, VPos::Center), ..self }
    }

    fn below(self) -> Self {
        Self { at: Pos::new(HPos::Center, VPos::Top), ..self }
    }
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), style: Style) -> Result {
    let weight = if style.bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = ("Helvetica, Arial, sans-serif", style.size, weight, &style.color);
    let font = font.into_text_style(area).pos(style.at);
    area.draw(&Text::new(text.to_owned(), at, font))?;
    Ok(())
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: impl Into<ShapeStyle>) -> Result {
    area.draw(&PathElement::new([from, to], style))?;
    Ok(())
}

/// `12,345`, with so many decimals.
pub fn number(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let is_zero = digits.chars().all(|digit| matches!(digit, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "\u{2212}" } else { "" };
    format!("{sign}{grouped}{fraction}")
}

/// A value's place between two ends of an axis.
struct Scale {
    values: (f64, f64),
    pixels: (i32, i32),
}

impl Scale {
    fn place(&self, value: f64) -> i32 {
        let share = (value - self.values.0) / (self.values.1 - self.values.0);
        self.pixels.0 + (share * f64::from(self.pixels.1 - self.pixels.0)).round() as i32
    }

    /// Round values, about so many of them.
    fn ticks(&self, about: usize) -> Vec<f64> {
        let (low, high) = self.values;
        let rough = (high - low) / about as f64;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * magnitude);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }

    /// How many decimals tell its ticks apart.
    fn decimals(&self, about: usize) -> usize {
        let ticks = self.ticks(about);
        let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
        if step >= 1.0 { 0 } else { (-step.log10()).ceil() as usize }
    }
}
