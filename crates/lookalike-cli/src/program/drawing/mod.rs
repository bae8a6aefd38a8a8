//! Pictures as answers: contact sheets and loss curves, drawn on a [`canvas`].

mod canvas;
mod curve;
mod sheet;

pub use curve::{Curve, Series};
pub use sheet::{Cell, ContactSheet, Mark, Row};
