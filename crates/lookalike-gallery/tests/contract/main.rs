//! What every gallery must do (`suite`), on the embedded one, and what that one promises beyond it.

mod asking;
mod content;
mod crash;
mod damage;
#[path = "../suite/diffusing.rs"]
mod diffusing;
mod embedded;
mod place;
mod recall;
mod screen;
#[path = "../suite/mod.rs"]
mod suite;
mod thumbnails;
mod tiles;
