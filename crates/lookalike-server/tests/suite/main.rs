//! The server and its page, as their users see them.
//!
//! One program, because each would be linked with all of the project.

mod api;
mod browser;
mod copies;
mod examples;
mod hostile;
mod labels;
mod page;
mod support;
