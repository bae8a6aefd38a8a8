//! Contact sheets: pictures in rows, with captions and frames.

use super::canvas::{
    BOLD_FONT, Canvas, Colour, FAINT_INK, HAIRLINE, INK, TEXT_FONT, TITLE_FONT, WHITE, shorten,
    text_height, text_width,
};
use lookalike::images::{InputShape, Pixels, fit};

/// Pictures with a longer side below this are enlarged, each pixel to a square.
const MIN_CELL_SIDE: usize = 100;
/// Pictures with a longer side above this are scaled down.
const MAX_CELL_SIDE: usize = 160;
/// Around the sheet.
const MARGIN: usize = 20;
/// Between cells.
const GAP: usize = 14;
/// Between a query and its neighbours, on top of the gap.
const QUERY_GAP: usize = 14;
/// The frame, and the white between it and the picture.
const FRAME: usize = 3;
const MAT: usize = 2;
const BORDER: usize = FRAME + MAT;

/// How a picture is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mark {
    /// A thin grey line.
    #[default]
    Plain,
    /// Dark: the query.
    Query,
    /// Green: the answer has the query's label.
    Right,
    /// Red: the answer has another label.
    Wrong,
    /// Grey: an answer of which nothing is known, because it or the query has no label.
    Unknown,
}

impl Mark {
    /// The mark of an answer, from the query's label and its own.
    pub fn of_labels(query: Option<&str>, answer: Option<&str>) -> Self {
        match (query, answer) {
            (Some(query), Some(answer)) if query == answer => Self::Right,
            (Some(_), Some(_)) => Self::Wrong,
            _ => Self::Unknown,
        }
    }

    fn colour(self) -> Colour {
        match self {
            Self::Plain => HAIRLINE,
            Self::Query => [52, 58, 64],
            Self::Right => [46, 160, 67],
            Self::Wrong => [218, 54, 51],
            Self::Unknown => [173, 181, 189],
        }
    }
}

/// One picture of a sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The picture.
    pub pixels: Pixels,
    /// Lines under it, the first one bold. A line that is too long is shortened; characters outside
    /// of Latin-1 become `?`.
    pub caption: Vec<String>,
    /// How it is framed.
    pub mark: Mark,
}

impl Cell {
    /// A picture without a caption.
    pub fn plain(pixels: Pixels) -> Self {
        Self {
            pixels,
            caption: Vec::new(),
            mark: Mark::Plain,
        }
    }

    /// A query, captioned with its label or, without one, its key.
    pub fn query(pixels: Pixels, label_or_key: &str) -> Self {
        Self {
            pixels,
            caption: vec![format!("query {label_or_key}"), String::new()],
            mark: Mark::Query,
        }
    }

    /// An answer: its rank (from 1), its label or key, and its distance.
    pub fn neighbour(
        pixels: Pixels,
        rank: usize,
        label_or_key: &str,
        distance: f32,
        mark: Mark,
    ) -> Self {
        Self {
            pixels,
            caption: vec![format!("{rank}. {label_or_key}"), format_distance(distance)],
            mark,
        }
    }
}

/// One row of a sheet.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Row {
    /// What stands to the left of the row; may be empty.
    pub heading: String,
    /// Its pictures, left to right.
    pub cells: Vec<Cell>,
}

impl Row {
    /// A row without a heading.
    pub fn new(cells: Vec<Cell>) -> Self {
        Self {
            heading: String::new(),
            cells,
        }
    }
}

/// Pictures in rows: a query and its neighbours, or inputs over their reconstructions.
///
/// Small pictures are enlarged by whole numbers, every pixel to a square, so that one sees what the
/// network sees; large ones are scaled down smoothly.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ContactSheet {
    /// Lines over the sheet, the first one large; may be empty. What is wider than the sheet is
    /// shortened.
    pub title: Vec<String>,
    /// The rows, top to bottom.
    pub rows: Vec<Row>,
}

impl ContactSheet {
    /// A sheet of inputs, each over its reconstruction, `columns` pairs in a row.
    pub fn of_reconstructions(
        title: Vec<String>,
        pairs: impl IntoIterator<Item = (Pixels, Pixels)>,
        columns: usize,
    ) -> Self {
        let (inputs, outputs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let columns = columns.max(1);
        let row = |heading: &str, cells: &[Pixels]| Row {
            heading: heading.to_owned(),
            cells: cells.iter().cloned().map(Cell::plain).collect(),
        };
        let pairs = inputs.chunks(columns).zip(outputs.chunks(columns));
        let rows = pairs
            .flat_map(|(inputs, outputs)| [row("input", inputs), row("output", outputs)])
            .collect();
        Self { title, rows }
    }

    /// Draws the sheet.
    pub fn render(&self) -> Pixels {
        let layout = Layout::of(self);
        let mut canvas = Canvas::new(layout.width, layout.height);
        let mut y = MARGIN;
        for (line, text) in self.title.iter().enumerate() {
            let (font, ink) = if line == 0 {
                (TITLE_FONT, INK)
            } else {
                (TEXT_FONT, FAINT_INK)
            };
            let text = shorten(text, layout.width - 2 * MARGIN, font);
            canvas.text(MARGIN, y, &text, font, ink);
            y += text_height(font) + 4;
        }
        if !self.title.is_empty() {
            y += 10;
        }
        for row in &self.rows {
            let middle = y + (layout.side + 2 * BORDER).saturating_sub(text_height(TEXT_FONT)) / 2;
            canvas.text(MARGIN, middle, &row.heading, TEXT_FONT, FAINT_INK);
            let mut x = MARGIN + layout.heading;
            for cell in &row.cells {
                layout.draw_cell(&mut canvas, x, y, cell);
                x += layout.cell_width() + GAP;
                if cell.mark == Mark::Query {
                    x += QUERY_GAP;
                }
            }
            y += layout.row_height(row) + GAP;
        }
        let mut x = MARGIN + layout.heading;
        for (mark, meaning) in &layout.legend {
            canvas.rectangle(x, y + 2, 11, 11, mark.colour());
            canvas.text(x + 17, y, meaning, TEXT_FONT, FAINT_INK);
            x += 17 + text_width(meaning, TEXT_FONT) + 20;
        }
        canvas.into_pixels()
    }
}

/// The sizes that all cells share.
struct Layout {
    /// Side of the square that a picture is centred in.
    side: usize,
    /// Width of the headings with the gap behind them.
    heading: usize,
    legend: Vec<(Mark, &'static str)>,
    width: usize,
    height: usize,
}

impl Layout {
    fn of(sheet: &ContactSheet) -> Self {
        let cells = || sheet.rows.iter().flat_map(|row| &row.cells);
        let side = cells()
            .map(|cell| drawn_side(&cell.pixels))
            .max()
            .unwrap_or(MIN_CELL_SIDE);
        let heading = sheet
            .rows
            .iter()
            .map(|row| text_width(&row.heading, TEXT_FONT))
            .max()
            .unwrap_or(0);
        let heading = if heading > 0 { heading + GAP } else { 0 };
        let has = |mark| cells().any(|cell| cell.mark == mark);
        let legend: Vec<_> = [
            (Mark::Right, "same label as the query"),
            (Mark::Wrong, "another label"),
        ]
        .into_iter()
        .filter(|&(mark, _)| has(mark))
        .collect();
        let mut layout = Self {
            side,
            heading,
            legend,
            width: 0,
            height: 0,
        };
        let row_width = |row: &Row| {
            let queries = row
                .cells
                .iter()
                .filter(|cell| cell.mark == Mark::Query)
                .count();
            let cells = row.cells.len() * (layout.cell_width() + GAP);
            (cells + queries * QUERY_GAP).saturating_sub(GAP)
        };
        let rows = heading + sheet.rows.iter().map(row_width).max().unwrap_or(0);
        let legend_width = |(_, text): &(Mark, &str)| 17 + text_width(text, TEXT_FONT) + 20;
        let legend = heading + layout.legend.iter().map(legend_width).sum::<usize>();
        // A title may widen a narrow sheet, but not without end.
        let fonts = std::iter::once(TITLE_FONT).chain(std::iter::repeat(TEXT_FONT));
        let title = sheet
            .title
            .iter()
            .zip(fonts)
            .map(|(line, font)| text_width(line, font).min(560));
        layout.width = rows.max(legend).max(title.max().unwrap_or(0)) + 2 * MARGIN;
        let title = match sheet.title.len() {
            0 => 0,
            lines => text_height(TITLE_FONT) + 4 + (lines - 1) * (text_height(TEXT_FONT) + 4) + 10,
        };
        let rows: usize = sheet
            .rows
            .iter()
            .map(|row| layout.row_height(row) + GAP)
            .sum();
        let legend = if layout.legend.is_empty() {
            0
        } else {
            text_height(TEXT_FONT) + GAP
        };
        layout.height = 2 * MARGIN + title + (rows + legend).saturating_sub(GAP);
        layout
    }

    fn cell_width(&self) -> usize {
        self.side + 2 * BORDER
    }

    fn row_height(&self, row: &Row) -> usize {
        let lines = row
            .cells
            .iter()
            .map(|cell| cell.caption.len())
            .max()
            .unwrap_or(0);
        let captions = if lines > 0 {
            5 + lines * text_height(TEXT_FONT)
        } else {
            0
        };
        self.side + 2 * BORDER + captions
    }

    fn draw_cell(&self, canvas: &mut Canvas, x: usize, y: usize, cell: &Cell) {
        let (pixels, factor) = drawn(&cell.pixels);
        let (width, height) = (pixels.width() * factor, pixels.height() * factor);
        // The frame hugs the picture, which stands in the middle of its square.
        let left = x + (self.side - width) / 2;
        let top = y + (self.side - height) / 2;
        let frame = if cell.mark == Mark::Plain { 1 } else { FRAME };
        let (outer, mat) = (BORDER - MAT - frame, frame + MAT);
        let colour = cell.mark.colour();
        canvas.rectangle(
            left + outer,
            top + outer,
            width + 2 * mat,
            height + 2 * mat,
            colour,
        );
        let inner = outer + frame;
        canvas.rectangle(
            left + inner,
            top + inner,
            width + 2 * MAT,
            height + 2 * MAT,
            WHITE,
        );
        canvas.picture(left + BORDER, top + BORDER, &pixels, factor);
        let mut line_top = y + self.side + 2 * BORDER + 5;
        for (line, text) in cell.caption.iter().enumerate() {
            let (font, ink) = if line == 0 {
                (BOLD_FONT, INK)
            } else {
                (TEXT_FONT, FAINT_INK)
            };
            let text = shorten(text, self.cell_width(), font);
            let indent = (self.cell_width() - text_width(&text, font)) / 2;
            canvas.text(x + indent, line_top, &text, font, ink);
            line_top += text_height(TEXT_FONT);
        }
    }
}

/// The picture and the whole number by which it is enlarged.
fn drawn(pixels: &Pixels) -> (Pixels, usize) {
    let longest = pixels.width().max(pixels.height());
    if longest > MAX_CELL_SIDE {
        let part = |side: usize| (side * MAX_CELL_SIDE).div_ceil(longest);
        let shape = InputShape {
            channels: pixels.channels(),
            height: part(pixels.height()),
            width: part(pixels.width()),
        };
        return (fit(pixels, shape), 1);
    }
    (pixels.clone(), MIN_CELL_SIDE.div_ceil(longest))
}

/// The longer side of the picture as drawn.
fn drawn_side(pixels: &Pixels) -> usize {
    let longest = pixels.width().max(pixels.height());
    match longest > MAX_CELL_SIDE {
        true => MAX_CELL_SIDE,
        false => longest * MIN_CELL_SIDE.div_ceil(longest),
    }
}

/// A distance with four places that mean something: `.0132`, `3.172`, `12.81`, `1.2e5`.
fn format_distance(distance: f32) -> String {
    let size = distance.abs();
    match size {
        _ if !distance.is_finite() => distance.to_string(),
        0.0..1.0 => {
            let text = format!("{distance:.4}");
            // Rounding may have made it 1.
            if text.contains("0.") {
                text.replacen("0.", ".", 1)
            } else {
                text
            }
        }
        1.0..10.0 => format!("{distance:.3}"),
        10.0..1000.0 => format!("{distance:.2}"),
        1000.0..100_000.0 => format!("{distance:.0}"),
        _ => format!("{distance:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(side: usize, value: u8) -> Pixels {
        Pixels::new(side, side, 1, vec![value; side * side]).unwrap()
    }

    fn has_colour(sheet: &Pixels, colour: Colour) -> bool {
        sheet.data().chunks(3).any(|pixel| pixel == colour)
    }

    #[test]
    fn small_pictures_grow_by_whole_numbers_and_large_ones_shrink() {
        for (side, expected) in [
            (1, 100),
            (16, 112),
            (28, 112),
            (64, 128),
            (84, 168),
            (100, 100),
            (160, 160),
            (500, 160),
        ] {
            let (pixels, factor) = drawn(&square(side, 0));
            assert_eq!(pixels.width() * factor, expected, "{side}");
            assert_eq!(drawn_side(&square(side, 0)), expected, "{side}");
        }
        let (wide, _) = drawn(&Pixels::new(1000, 1, 1, vec![0; 1000]).unwrap());
        assert_eq!((wide.width(), wide.height()), (160, 1));
    }

    #[test]
    fn every_pixel_of_a_small_picture_is_a_square() {
        let pixels = Pixels::new(2, 1, 3, vec![9, 8, 7, 1, 2, 3]).unwrap();
        let sheet = ContactSheet {
            title: vec![],
            rows: vec![Row::new(vec![Cell::plain(pixels)])],
        }
        .render();
        let count = |colour: Colour| {
            sheet
                .data()
                .chunks(3)
                .filter(|pixel| *pixel == colour)
                .count()
        };
        assert_eq!((count([9, 8, 7]), count([1, 2, 3])), (50 * 50, 50 * 50));
    }

    #[test]
    fn marks_have_their_colours_and_a_legend() {
        let mark = Mark::of_labels;
        assert_eq!(mark(Some("7"), Some("7")), Mark::Right);
        assert_eq!(mark(Some("7"), Some("1")), Mark::Wrong);
        assert_eq!(mark(Some("7"), None), Mark::Unknown);
        let sheet = |mark| ContactSheet {
            title: vec!["title".into()],
            rows: vec![Row::new(vec![
                Cell::query(square(28, 0), "7"),
                Cell::neighbour(square(28, 0), 1, "7", 0.5, mark),
            ])],
        };
        let (right, unknown) = (sheet(Mark::Right).render(), sheet(Mark::Unknown).render());
        assert!(has_colour(&right, Mark::Right.colour()));
        assert!(!has_colour(&right, Mark::Wrong.colour()));
        assert!(right.height() > unknown.height());
    }

    #[test]
    fn sheets_of_anything_can_be_drawn() {
        let cell = |side, caption: &str| Cell {
            pixels: square(side, 10),
            caption: vec![caption.to_owned(); 3],
            mark: Mark::Plain,
        };
        for title in ["", "a", "数字", &"long ".repeat(1000)] {
            for rows in [
                vec![],
                vec![Row::default()],
                vec![Row::new(vec![cell(1, title), cell(300, "b")])],
            ] {
                let sheet = ContactSheet {
                    title: vec![title.to_owned(); 2],
                    rows,
                };
                assert!(sheet.render().width() <= 700);
            }
        }
    }

    #[test]
    fn reconstructions_stand_in_pairs() {
        let pairs = (0..5).map(|i| (square(28, i), square(28, 100 + i)));
        let sheet = ContactSheet::of_reconstructions(vec![], pairs, 3);
        let values: Vec<Vec<u8>> = sheet
            .rows
            .iter()
            .map(|row| row.cells.iter().map(|cell| cell.pixels.data()[0]).collect())
            .collect();
        assert_eq!(
            values,
            [
                vec![0, 1, 2],
                vec![100, 101, 102],
                vec![3, 4],
                vec![103, 104]
            ]
        );
    }

    #[test]
    fn distances_are_short() {
        for (distance, text) in [
            (0.0, ".0000"),
            (0.01324, ".0132"),
            (-0.5, "-.5000"),
            (0.99999, "1.0000"),
            (3.17159, "3.172"),
            (123.456, "123.46"),
            (f32::NAN, "NaN"),
        ] {
            assert_eq!(format_distance(distance), text);
        }
    }
}
